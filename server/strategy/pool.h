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

// Pool gives connections to processes that serve one after the other.
//
// The fastest strategy: no process is created for a connection. In return a
// connection's process has served others before. After each connection a worker
// restores what that left behind (proc/process_state.h), and exits if it cannot
// or if the handler failed. Memory is not restored: a handler for pools is
// written to be called more than once. A worker serves about a given number of
// connections; while workers are missing, a connection is forked for. What a
// worker reports ends a connection, and no deadline: see Events::DeadlineOf().
//
// Process: supervisor, which must be single-threaded, in parent-only memory;
// PoolWorker, in pool.cc, is what runs in a worker. Tags: kWorker, and
// kConnection for connections that were forked for. Errors: those of
// proc::Spawner::Spawn.
//
// Example:
//   Pool pool(16, 1000, std::move(direct), *std::move(reports), environment);
//   pool.Dispatch(slot, std::move(connection), now, events);
class Pool : public Strategy, public proc::ParentOnly {
 public:
  // `direct` forks for a connection for which none of `size` workers is idle.
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
  void TakeReport(WorkerSet::Index index, net::Instant now, Events& events);
  // A connection that was forked for has a process that counts as a worker as
  // long as it lives.
  bool Short() const { return !closed_ && reaper_->live() < size_; }
  // Not while no worker is known to be idle: a report may say that one is.
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
