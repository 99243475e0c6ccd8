// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_WORKER_SET_H_
#define BROOD_SERVER_STRATEGY_WORKER_SET_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/reaper.h"
#include "brood/server/child/child_program.h"
#include "brood/server/strategy/spawn_backoff.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

// WorkerSet holds processes that were forked ahead and wait for connections.
//
// Each worker has its own handoff queue (net/handoff_queue.h), which the parent
// creates before it and keeps after it: a connection that was given to a worker
// that died before it took it over is still there, and returns to the
// supervisor. The queues are reused for later workers.
//
//   absent ──ForkUpTo──▶ idle ──Assign──▶ serving ──┬─ Finished ──▶ idle
//     ▲                   │                         ├─ ReleaseThoseServing ─┐
//     └─── it ended, or was dismissed ◀─────────────┴───────────────────────┘
//
// A worker whose queue would leave fewer than kReserved descriptors free is not
// made, as if fork had failed: the server goes on to accept, and forks for each
// connection for which no worker is idle.
//
// Process: supervisor, in parent-only memory; only the Body runs in a worker. A
// worker is ready once it has acknowledged a command that waits in its queue
// from the start: no message to the parent is needed. Tags: kWorker.
// Errors: those of HandoffQueue::Create and Spawner::Spawn.
//
// Example: see spares.cc and pool.cc.
class WorkerSet : public proc::ParentOnly {
 public:
  using Index = uint32_t;
  // How many descriptors stay free for the rest of the server: connections that
  // wait for a process (8), one that is accepted, and an upgrade (7).
  static constexpr size_t kReserved = 16;
  // What a worker does once it is ready. Returns its exit code.
  using Body = std::function<int(Index, net::HandoffQueue&)>;

  // `body` is copied to ordinary memory, for workers need it. Workers keep the
  // private descriptor `kept_fd`, too, if it is not negative. Worker `index`
  // reports to page `first_page` + `index`; without `first_page`, to that of
  // the slot of its connection.
  WorkerSet(size_t size, const StrategyEnvironment& environment, Body body,
            int kept_fd = -1,
            absl::optional<uint32_t> first_page = absl::nullopt);

  // Forks until `wanted_idle` workers are idle, as far as the back-off allows.
  void ForkUpTo(size_t wanted_idle, net::Instant now);
  // Returns when to call ForkUpTo() again even if nothing happens.
  net::Instant next_fork() const { return next_fork_; }

  // Gives `connection` to an idle worker. Returns false if none can take it.
  bool Assign(Slot slot, const net::Connection& connection, net::Instant now,
              Strategy::Events& events);
  // Accounts for the report of worker `index`, which is process `pid`, that it
  // finished the connection numbered `serial`, and that it exits if `leaves`.
  // Returns the slot of that connection, or nothing if the report is false.
  absl::optional<Slot> Finished(Index index, pid_t pid, uint32_t serial,
                                bool leaves);
  // Retags workers that took their connections over: their ends will be
  // returned as those of connections, and their places are free.
  void ReleaseThoseServing();
  // Accounts for the end of a worker.
  void Ended(Index index, const proc::Reaper::Ended& ended, net::Instant now,
             Strategy::Events& events);

  // Tells idle workers to exit until at most `target` remain.
  void DismissIdle(size_t target);
  // Gives no connection from now on to workers that exist now.
  void BeginGeneration();
  // Closes a queue, because no descriptor is free: one that no worker uses, or
  // that of an idle worker, which is told to exit, when it has ended.
  void FreeDescriptors();

  // Returns the connection that this worker is to serve, which it must
  // acknowledge; nothing if it is to exit. Called in a worker.
  static absl::optional<net::HandoffQueue::Message> AwaitConnection(
      const net::HandoffQueue& queue);

  // Returns the number of workers that wait for a connection.
  size_t idle() const { return idle_.size(); }

 private:
  enum class State { kAbsent, kIdle, kServing, kLeaving };
  struct Worker {
    proc::Private<net::HandoffQueue> queue;
    State state = State::kAbsent;
    bool ready = false;
    bool drops_queue = false;  // when it has ended
    pid_t pid = 0;
    Slot slot = 0;
    uint32_t serial = 0;
    uint32_t generation = 0;
  };

  // What was left in the queue of a worker that ended.
  struct Leftovers {
    bool was_ready = true;
    absl::optional<net::Connection> connection;
    absl::Status lost;  // why a connection could not be taken back
  };

  absl::Status Fork();
  absl::Status OpenQueue(Worker& worker);
  void DropQueue(Worker& worker);
  Leftovers EmptyQueue(Worker& worker);
  static int Join(const ChildProgram& program, const Body& body, Index index,
                  int awaiting_fd);
  void CountReady();
  void MarkReady(Worker& worker);
  void Dismiss(Index index);
  void Vacate(Index index);

  const StrategyEnvironment environment_;
  // In ordinary memory.
  const std::unique_ptr<const Body> body_;
  const int kept_fd_;
  const absl::optional<uint32_t> first_page_;
  proc::ParentOnlyVector<Worker> workers_;
  // A stack: the worker that became idle last is used next, while its memory is
  // warm.
  proc::ParentOnlyVector<Index> idle_;
  proc::ParentOnlyVector<Index> absent_;
  size_t unopened_;  // how many have no queue yet
  size_t starting_ = 0;
  // Whether the log has said that a worker was not made for want of
  // descriptors, and none was made since.
  bool is_short_ = false;
  uint32_t last_serial_ = 0;
  uint32_t generation_ = 0;
  SpawnBackoff backoff_;
  net::Instant next_fork_ = net::Instant::min();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_WORKER_SET_H_
