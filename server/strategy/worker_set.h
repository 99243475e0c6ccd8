// WorkerSet: processes that were forked ahead and wait for connections.
//
// Each worker has a handoff queue of its own (net/handoff_queue.h), which the
// parent made before it and keeps after it: so a connection that was given to a
// worker that died before it took it over is still there, and goes back to the
// supervisor. The queues are used again for later workers.
//
//   absent ──Fork──▶ idle ──Assign──▶ serving ──┬─ Finished ──▶ idle again
//      ▲              │                         ├─ ReleaseThoseServing ─┐
//      └──── it ended, or was dismissed ◀───────┴───────────────────────┘
//
// What the workers do once they have a connection is the caller's. A worker
// proves that it is ready by acknowledging an order that waits for it in its
// queue; no message to the parent is needed for that.
//
// Lives in the parent, in memory that children do not get, but for the body of
// a worker. Tags
// of workers carry kWorkerTag; the rest is the slot of a child that is no
// worker. Errors: those of HandoffQueue::Create and Spawner::Spawn.
//
// Example: see spares.cc and pool.cc.

#ifndef BROOD_SERVER_STRATEGY_WORKER_SET_H_
#define BROOD_SERVER_STRATEGY_WORKER_SET_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/log/event_log.h"
#include "brood/server/strategy/spawn_backoff.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

class WorkerSet : public proc::ParentOnly {
 public:
  using Slot = Strategy::Slot;
  using Index = uint32_t;
  // What a worker does once it is ready: gives its exit code.
  using Body = std::function<int(Index, net::HandoffQueue&)>;

  static constexpr uint32_t kWorkerTag = uint32_t{1} << 31;
  static bool IsWorker(uint32_t tag) { return (tag & kWorkerTag) != 0; }

  // `reaper`, `log` and `program` outlive the worker set. Workers have
  // descriptor `kept_fd` too, if that is one.
  WorkerSet(size_t size, proc::Reaper* reaper, EventLog* log,
            const ChildProgram* program, Body body, int kept_fd = -1);

  // Forks until `wanted_idle` are idle, as far as the backoff allows now.
  void ForkUpTo(size_t wanted_idle, const proc::Spawner& spawner,
                net::Instant now);
  // When to call it again, though nothing happens.
  net::Instant next_fork() const { return next_fork_; }

  // Gives `connection` to an idle worker. False if none can have it.
  bool Assign(Slot slot, const net::Connection& connection,
              Strategy::Events& events);
  // Worker `index`, which is process `pid`, says it is done with the connection
  // that it was given as number `serial`, and whether it leaves. Gives that
  // one's slot, or nothing if this can't be.
  absl::optional<Slot> Finished(Index index, pid_t pid, uint32_t serial,
                                bool leaves);
  // Those that took their connection over are no workers any more: their ends
  // will be delivered with their slots for tags.
  void ReleaseThoseServing();
  // A worker ended.
  void Ended(const proc::Reaper::Ended& ended, net::Instant now,
             Strategy::Events& events);

  // Sends idle workers home until `left` are left.
  void DismissIdle(size_t left);
  // Workers of today get no connection from now on.
  void BeginGeneration();

  // In a worker: the connection that it is to serve, to be acknowledged;
  // nothing if it is to leave.
  static absl::optional<net::HandoffQueue::Message> AwaitConnection(
      const net::HandoffQueue& queue);

  size_t idle() const { return idle_.size(); }

 private:
  enum class State { kAbsent, kIdle, kServing, kLeaving };
  struct Worker {
    absl::optional<net::HandoffQueue> queue;
    proc::HiddenFd hidden_offering, hidden_awaiting;
    State state = State::kAbsent;
    bool ready = false;
    pid_t pid = 0;
    Slot slot = 0;
    uint32_t serial = 0;
    uint32_t generation = 0;
  };

  absl::Status Fork(const proc::Spawner& spawner);
  absl::Status OpenQueue(Worker& worker);
  void DropQueue(Worker& worker);
  static int Join(const ChildProgram& program, const Body& body, Index index,
                  int awaiting_fd);
  void CountReady();
  void MarkReady(Worker& worker);
  void Dismiss(Index index);
  void Vacate(Index index);

  proc::Reaper* const reaper_;
  EventLog* const log_;
  const ChildProgram* const program_;
  // Not in this memory: workers need it.
  const std::unique_ptr<const Body> body_;
  const int kept_fd_;
  proc::ParentOnlyVector<Worker> workers_;
  // The one that was idle last is given work first: its memory is warm.
  proc::ParentOnlyVector<Index> idle_;
  proc::ParentOnlyVector<Index> absent_;
  size_t unopened_;  // how many have no queue yet
  size_t starting_ = 0;
  uint32_t last_serial_ = 0;
  uint32_t generation_ = 0;
  SpawnBackoff backoff_;
  net::Instant next_fork_ = net::Instant::min();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_WORKER_SET_H_
