// Pool: a fixed number of workers, each of which serves one connection after
// the other.
//
// The fastest strategy: no process is made for a connection. What it gives up
// is that a connection's process has served others before. So after each
// connection a worker looks at what that left behind (proc/process_state.h);
// if it can't be put back, or the handler failed, the worker makes room for a
// new one, and so it does after about `connections_per_worker`. It looks when
// it has said that it is done: a connection that it is given meanwhile, and
// can't take, goes to another one.
//
// Memory is not cleaned between connections, and a handler that keeps something
// in its program's variables finds it again: a handler for pools is written to
// be called more than once.
//
// While workers are missing a connection gets a process of its own, as with
// ForkPerConnection. Lives in the parent, which must be single-threaded. The
// tag of a child is its slot, or a worker's of the worker set.
//
// Example:
//   Pool pool(16, 1000, std::move(direct), *std::move(reports), &reaper,
//             &program, &log);
//   pool.Dispatch(slot, std::move(connection), events);

#ifndef BROOD_SERVER_STRATEGY_POOL_H_
#define BROOD_SERVER_STRATEGY_POOL_H_

#include <cstddef>

#include "absl/status/status.h"
#include "brood/net/connection.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/reaper.h"
#include "brood/server/child/child_program.h"
#include "brood/server/log/event_log.h"
#include "brood/server/strategy/fork_per_connection.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/server/strategy/worker_set.h"

namespace brood::server {

class Pool : public Strategy {
 public:
  // `direct` makes the processes; those given by pointer outlive the strategy.
  Pool(size_t workers, int connections_per_worker, ForkPerConnection direct,
       WorkerReports reports, proc::Reaper* reaper, const ChildProgram* program,
       EventLog* log);

  absl::Status Prepare() override { return direct_.Prepare(); }
  void Dispatch(Slot slot, net::Connection connection, Events& events) override;
  void ChildEnded(const proc::Reaper::Ended& ended, Events& events) override;
  int fd() const override { return reports_.fd(); }
  // Somebody may be idle and we do not know it yet.
  bool Urgent() const override { return workers_.idle() == 0; }
  void Attend(Events& events) override { TakeReports(events); }
  void Maintain(net::Instant now, bool quiet, Events& events) override;
  net::Instant next_maintenance() const override;
  absl::Status BeginGeneration() override;
  void Close() override;

 private:
  void TakeReports(Events& events);
  // A connection that came before there was a worker for it has a process that
  // counts as one as long as it lives.
  bool Short() const { return !closed_ && reaper_->live() < max_workers_; }

  // In the worker.
  int Live(WorkerSet::Index index, const net::HandoffQueue& queue) const;
  int HowManyToServe() const;

  const size_t max_workers_;
  const int connections_per_worker_;
  proc::Reaper* const reaper_;
  const ChildProgram* const program_;
  EventLog* const log_;
  ForkPerConnection direct_;
  WorkerReports reports_;
  WorkerSet workers_;
  bool closed_ = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_POOL_H_
