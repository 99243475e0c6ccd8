// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_POOL_H_
#define BROOD_SERVER_STRATEGY_POOL_H_

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/reaper.h"
#include "brood/server/log/event_log.h"
#include "brood/server/strategy/event_batching.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/server/strategy/worker_set.h"

namespace brood::server {

// Pool gives connections to workers: processes that serve one connection after
// the other.
//
// The fastest strategy: no process is created for a connection. But the process
// of a connection may have served others before. After each connection a worker
// restores the state of its process (proc/process_state.h), and exits if it
// cannot or if the handler failed. Memory is not restored: a handler for pools
// must work when it is called more than once. A worker serves about a given
// number of connections; while workers are missing, a process is forked for a
// connection. The report of a worker ends a connection, but not its deadline:
// see Events::DeadlineOf().
//
// Process: supervisor, which must be single-threaded, in parent-only memory;
// PoolWorker, in pool.cc, is what runs in a worker. Tags: kWorker, and
// kConnection for a process that was forked for a connection. Errors: those of
// proc::Spawner::Spawn.
//
// Example:
//   Pool pool(16, 1000, std::move(direct), *std::move(reports), environment);
//   pool.Dispatch(slot, std::move(connection), now, events);
class Pool : public Strategy, public proc::ParentOnly {
 public:
  // Makes a pool of `size` workers. `direct` forks for a connection for which
  // no worker is idle.
  Pool(size_t size, int connections_per_worker,
       std::unique_ptr<Strategy> direct, WorkerReports reports,
       const StrategyEnvironment& environment);

  absl::StatusOr<Rehearsal> RehearseToServe() override {
    return direct_->RehearseToServe();
  }
  absl::Status Prepare() override { return direct_->Prepare(); }
  void Dispatch(Slot slot, net::Connection connection, net::Instant now,
                Events& events) override;
  void ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                  net::Instant now, Events& events) override;
  int fd(net::Instant now) const override {
    return EventsWait(now) ? -1 : reports_.fd();
  }
  net::Instant alarm(net::Instant now) const override;
  void Attend(net::Instant now, Events& events) override;
  void Maintain(net::Instant now, bool idle, Events& events) override;
  void FreeDescriptors() override { workers_.FreeDescriptors(); }
  absl::Status BeginGeneration() override;
  void Close() override;

 private:
  // Reads the report of worker `index`, reports its connection as ended to
  // `events`, and limits the life of the worker to the deadline of that
  // connection. Does nothing if there is no report, or one that breaks a rule.
  void TakeReport(WorkerSet::Index index, net::Instant now, Events& events);
  // Returns whether workers are missing. A process that was forked for a
  // connection counts as a worker while it lives.
  bool Short() const { return !closed_ && reaper_->live() < size_; }
  // Returns whether reports wait for the next connection. They do not while no
  // worker is known to be idle, because a report may make one idle.
  bool EventsWait(net::Instant now) const {
    return batching_.Waits(now) && workers_.idle() > 0;
  }

  const size_t size_;
  proc::Reaper* const reaper_;
  EventLog* const log_;
  const std::unique_ptr<Strategy> direct_;
  WorkerReports reports_;
  WorkerSet workers_;
  EventBatching batching_;
  bool closed_ = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_POOL_H_
