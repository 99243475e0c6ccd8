// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_WORKER_SET_H_
#define BROOD_SERVER_STRATEGY_WORKER_SET_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
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
#include "brood/server/strategy/worker_reports.h"

namespace brood::server {

// WorkerSet holds processes that were forked ahead and wait for connections.
//
// Each worker has its own handoff queue (net/handoff_queue.h), of which the
// parent has both ends. If a worker dies before it has taken over its
// connection, the connection is still in the queue, and returns to the
// supervisor. A queue that a handler could use is closed when its worker ends.
//
//   absent ──ForkUpTo──▶ idle ──Assign──▶ serving ──┬─ TakeReport ──▶ idle
//     ▲                   │                         ├─ ReleaseServing ──────┐
//     └─── it ended, or was dismissed ◀─────────────┴───────────────────────┘
//
// The parent limits how many connections a worker gets, when it must have
// exited, and what it may report. A worker that breaks a rule is sent SIGKILL,
// and its place is free when it has ended. Forks are limited, too: each follows
// a connection, a second of life, or a pause (see SpawnBackoff). No worker is
// created that would leave fewer than kReserved descriptors free.
//
// Process: supervisor, in parent-only memory; only the Body runs in a worker.
// Tags: kWorker. Errors: those of HandoffQueue::Create and Spawner::Spawn.
class WorkerSet : public proc::ParentOnly {
 public:
  // Index is the number of a worker in the set, from 0 to its size minus 1.
  using Index = uint32_t;
  // The number of descriptors that stay free for the rest of the server:
  // connections that wait for a process (8), a connection that was just
  // accepted, and an upgrade (7).
  static constexpr size_t kReserved = 16;
  // How long a worker may take to exit after it was told to.
  static constexpr absl::Duration kLeaveTime = absl::Seconds(1);
  // How long an idle worker must live to show that workers can live.
  static constexpr absl::Duration kProof = absl::Seconds(1);
  // Body runs in a worker once it is ready. It returns the exit code of the
  // worker.
  using Body = std::function<int(Index, net::HandoffQueue&)>;

  // Settings are the settings of workers that serve more than one connection.
  struct Settings {
    // The channels through which workers report, which outlive the set; null if
    // a worker ends with its connection.
    const WorkerReports* reports = nullptr;
    // Makes the handlers in worker `index` report to page `first_page` +
    // `index`; without it, to the page of the slot of the connection.
    absl::optional<uint32_t> first_page;
    // The most connections that one worker is given.
    int most_connections = 1;
  };

  // Finished is a connection that a worker reports to have finished.
  struct Finished {
    // Identifies the connection.
    Slot slot;
    // Identifies the worker.
    pid_t pid;
    // Holds the report and its time, as Receive() has checked them.
    WorkerReports::Received received;
  };

  // Makes a set of at most `size` workers. `body` is copied to ordinary memory,
  // because workers need it.
  WorkerSet(size_t size, const StrategyEnvironment& environment, Body body,
            const Settings& settings);
  // Makes a set of at most `size` workers that serve one connection each, and
  // send no reports.
  WorkerSet(size_t size, const StrategyEnvironment& environment, Body body)
      : WorkerSet(size, environment, std::move(body), Settings()) {}

  // Forks until `wanted_idle` workers are idle, as far as the back-off allows.
  void ForkUpTo(size_t wanted_idle, net::Instant now);
  // Returns when to call ForkUpTo() again even if nothing happens.
  net::Instant next_fork() const { return next_fork_; }

  // Gives `connection` to an idle worker. Returns false if no worker can take
  // it.
  bool Assign(Slot slot, const net::Connection& connection, net::Instant now,
              Strategy::Events& events);
  // Reads the report of worker `index`. Returns the connection that it has
  // finished; nothing if it has sent nothing. Kills the worker and returns
  // nothing if it has sent anything else.
  absl::optional<Finished> TakeReport(Index index, net::Instant now);
  // Ends worker `index` at `deadline`, that of a connection which it has
  // reported as finished, because it may still hold that connection. A worker
  // that serves another connection at that time may finish that one first.
  void Bound(Index index, net::Instant deadline);
  // Changes the tags of workers that have taken over their connections: the
  // reaper then returns their ends as those of connections, and their places
  // are free.
  void ReleaseServing();
  // Records the end of a worker, and reports what it means for its connection.
  void Ended(Index index, const proc::Reaper::Ended& ended, net::Instant now,
             Strategy::Events& events);

  // Kills the workers that were told to exit, or that broke a rule, and have
  // not ended in time. Called in each turn.
  void EndOverdue(net::Instant now);
  // Returns when to call EndOverdue() even if nothing happens.
  net::Instant next_end() const { return next_end_; }

  // Tells idle workers to exit until at most `target` remain.
  void DismissIdle(size_t target);
  // Makes all further connections go to workers that are forked after this
  // call.
  void BeginGeneration();
  // Closes a queue, because no descriptor is free: a queue that no worker uses,
  // or that of an idle worker, which is told to exit.
  void FreeDescriptors();

  // Returns the connection that this worker is to serve, which it must
  // acknowledge; nothing if it is to exit. Called in a worker.
  static absl::optional<net::HandoffQueue::Message> AwaitConnection(
      const net::HandoffQueue& queue);

  // Returns the number of workers that wait for a connection.
  size_t idle() const { return idle_.size(); }

 private:
  // State is what a worker does. A worker is kLeaving when it has reported that
  // it exits, was told to exit, or broke a rule while it was idle.
  enum class State { kAbsent, kIdle, kServing, kLeaving };
  // Worker is the record of a place for a worker. Without a worker, the place
  // is kAbsent, and may keep a queue for the next one.
  struct Worker {
    proc::Private<net::HandoffQueue> queue;
    State state = State::kAbsent;
    bool ready = false;
    // Whether it broke a rule and was sent SIGKILL: nothing that it sends is
    // read any more.
    bool is_condemned = false;
    pid_t pid = 0;
    Slot slot = 0;
    uint32_t serial = 0;
    uint32_t generation = 0;
    int connections = 0;  // given to it so far
    net::Instant forked_at;
    net::Instant assigned_at;
    // When it must have ended; Never() if it need not end yet.
    net::Instant end_at = net::Never();
  };

  // Leftovers is what was left in the queue of a worker that ended.
  struct Leftovers {
    bool was_ready = true;
    absl::optional<net::Connection> connection;
    absl::Status lost;  // why a connection could not be taken back
  };

  // Forks a worker into a free place, of which there must be one, and counts it
  // as idle and as starting. Errors: those of its queue and of Spawner::Spawn;
  // the place is then still free.
  absl::Status Fork(net::Instant now);
  // Creates the queue of worker `index`, unless it has one, and watches it if
  // workers report. Returns ResourceExhausted if fewer than kReserved
  // descriptors would stay free. After an error there is no queue.
  absl::Status OpenQueue(Index index);
  // Closes both ends of the queue of `worker`, and stops watching it. Drops the
  // messages that are in the queue. Does nothing if there is no queue.
  void DropQueue(Worker& worker);
  // Empties the queue of `worker`, which has ended, and returns what was left
  // in it. Closes the queue if the kernel refuses to remove a message.
  Leftovers EmptyQueue(Worker& worker);
  // Runs worker `index`: begins `program`, reports through the queue with the
  // awaiting end `awaiting_fd` that it is ready, and calls `body`. Returns the
  // exit code; without a report if `program` cannot begin. Called in the
  // worker.
  static int Join(const ChildProgram& program, const Body& body, Index index,
                  int awaiting_fd);
  // Marks the workers that have become ready since the last call, and notifies
  // the back-off of them. Returns whether there are any.
  bool CountReady();
  // Marks `worker` as ready, and notifies the back-off. Does nothing if it is
  // marked already.
  void MarkReady(Worker& worker);
  // Returns whether `worker`, which has ended, died at its start. If it was
  // serving, it did if `was_ready` is false; otherwise, if it never had a
  // connection, was not told to exit, and lived for less than kProof.
  bool DiedAtStart(const Worker& worker, bool was_ready,
                   net::Instant now) const;
  // Returns the rule that a report of `worker` breaks; empty if it breaks none.
  static absl::string_view Complaint(const Worker& worker,
                                     const WorkerReports::Report& report);
  // Kills worker `index`, which broke a rule, and logs `why`. The worker gets
  // no other connection, and nothing that it sends is read any more.
  void Condemn(Index index, absl::string_view why, net::Instant now);
  // Sends SIGKILL to `worker`. EndOverdue() sends it again if the worker has
  // not ended kLeaveTime after `now`.
  void Kill(Worker& worker, net::Instant now);
  // Tells the idle worker `index` to exit, by its queue, or by SIGTERM if the
  // queue refuses the command. EndOverdue() kills the worker if it has not
  // ended kLeaveTime later.
  void Dismiss(Index index);
  // Removes worker `index` from the idle ones, if it is one of them. Does not
  // change its state.
  void NoLongerIdle(Index index);
  // Makes the place `index` free for another worker. Does not close its queue,
  // which the next worker can use.
  void Vacate(Index index);

  const StrategyEnvironment environment_;
  // In ordinary memory.
  const std::unique_ptr<const Body> body_;
  const Settings settings_;
  proc::ParentOnlyVector<Worker> workers_;
  // A stack: the worker that became idle last is used next, while its memory is
  // warm.
  proc::ParentOnlyVector<Index> idle_;
  proc::ParentOnlyVector<Index> absent_;
  size_t unopened_;  // the number of places that have no queue yet
  size_t starting_ = 0;
  // Whether it was logged that there were too few descriptors for a worker, and
  // no worker was created since.
  bool is_short_ = false;
  uint32_t last_serial_ = 0;
  uint32_t generation_ = 0;
  SpawnBackoff backoff_;
  net::Instant next_fork_ = net::Instant::min();
  // When the period began after which it looks whether workers are ready.
  net::Instant looked_at_ = net::Instant::min();
  absl::Duration ready_period_;
  net::Instant next_end_ = net::Never();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_WORKER_SET_H_
