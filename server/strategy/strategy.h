// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_STRATEGY_H_
#define BROOD_SERVER_STRATEGY_STRATEGY_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/log/event_log.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/server/vocabulary/slot.h"

namespace brood::server {

// StrategyEnvironment is what a strategy works with. A value of the parent's;
// what it points to outlives the strategy. Children use `spawner` and
// `program`, which must therefore be in ordinary memory.
struct StrategyEnvironment {
  proc::Spawner* spawner;
  proc::Reaper* reaper;
  const ChildProgram* program;
  EventLog* log;
};

// Rehearsal is a child that was created to see whether, and how, children can
// be created. It runs no handler and no Options::prepare_child. A value.
struct Rehearsal {
  // The child, which has the tag kRehearsal; 0 if none was created.
  pid_t pid = 0;
  // How children are created, if not in the first way.
  proc::SpawnFallback fallback;
};

// Strategy decides how a connection gets a process.
//
// The supervisor accepts, admits and reaps; a Strategy creates processes and
// gives each connection to one of them. The supervisor does not know which
// strategy it uses. A strategy never reads the clock: `now` is the time of the
// turn, or of the accept for Dispatch().
//
// Process: supervisor. Thread: the supervisor's. Children are registered with
// the reaper under the strategy's tags, so ChildEnded() sees every exit first.
// Reference implementation: ForkPerConnection.
class Strategy {
 public:
  // Events reports progress to the owner of the connections' records, during
  // the calls below. For each slot: Serving or Assigned, then Ended; or Failed;
  // each preceded by any number of Returned, Refused and Deferred. An
  // implementation must not call the strategy back: it collects what has to be
  // done (see Connections).
  class Events {
   public:
    // Process `pid`, which was created for the connection, has owned it since
    // `since`. Its handler reports to the page with the number of the slot.
    virtual void Serving(Slot slot, pid_t pid, net::Instant since) = 0;
    // Process `pid`, which was created before, has owned the connection since
    // `since`. Its handler reports to `page`.
    virtual void Assigned(Slot slot, pid_t pid, net::Instant since,
                          uint32_t page) = 0;
    // Process `pid` finished with the connection at `at`.
    virtual void Ended(Slot slot, pid_t pid, const proc::ExitStatus& status,
                       net::Instant at) = 0;
    // Process `pid`, which ended with `status`, did so before it took the
    // connection over. No byte was read; another process can serve it.
    virtual void Returned(Slot slot, net::Connection connection, pid_t pid,
                          const proc::ExitStatus& status) = 0;
    // No process could be created, for now. No byte was read; the connection
    // can be dispatched again.
    virtual void Refused(Slot slot, net::Connection connection,
                         const absl::Status& why, net::Instant now) = 0;
    // There is no room for the connection, for now. No byte was read; it can be
    // dispatched again when HasRoom().
    virtual void Deferred(Slot slot, net::Connection connection,
                          const absl::Status& why, net::Instant now) = 0;
    // No process could be created. The connection has been closed.
    virtual void Failed(Slot slot, const absl::Status& why,
                        net::Instant now) = 0;

    // Returns when deadlines.connection ends the connection in `slot`, whatever
    // its process says; Never() without it. Not after the connection was
    // reported as ended.
    virtual net::Instant DeadlineOf(Slot slot) = 0;

   protected:
    ~Events() = default;
  };

  virtual ~Strategy() = default;

  // Creates what must be created while the program is still small and
  // single-threaded. Called once, when the server is created.
  virtual absl::Status Start() { return absl::OkStatus(); }
  // Creates a child as those of connections will be created. Called once, after
  // Start(), for a strategy whose processes are created from then on. Errors:
  // Unimplemented, naming the strategy, if it cannot work on this machine;
  // others are those of Spawner::Spawn.
  virtual absl::StatusOr<Rehearsal> RehearseAtStart() { return Rehearsal(); }
  // Does the same for a strategy that creates processes in the loop. Called
  // after the first Prepare(). Errors: those of Spawner::Spawn.
  virtual absl::StatusOr<Rehearsal> RehearseToServe() { return Rehearsal(); }
  // Records what foreign code may have changed about this process. Called
  // before the first Dispatch(), and again whenever foreign code has run. Fails
  // if this process cannot create processes.
  virtual absl::Status Prepare() = 0;

  // Notes that this process has other rights than when the server was created,
  // or than at the last call: `what` differs, as ProcessIdentity has it. From
  // then on, connections go to processes that have its rights, and are created
  // from now on. Fails if that cannot be.
  virtual absl::Status IdentityChanged(absl::string_view /*what*/) {
    return BeginGeneration();
  }

  // Returns whether a connection could be dispatched now. If not, none is
  // accepted until a readable fd() or an alarm() says to ask again.
  virtual bool HasRoom() const { return true; }
  // Gives `connection` to a process. Closes this process's copy.
  virtual void Dispatch(Slot slot, net::Connection connection, net::Instant now,
                        Events& events) = 0;

  // Registers children that another process created for this one with the
  // reaper. Called before and after the reaper looks for children that ended.
  virtual void AdoptSpawned() {}
  // Accounts for a child of the strategy that has been reaped; `tag` is
  // unpacked from `ended.tag`.
  virtual void ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                          net::Instant now, Events& events) = 0;

  // Returns a descriptor that is readable when Attend() has events to process,
  // or -1 if Attend() must be called in each turn: because there never are any,
  // or because they wait for a turn that comes anyway (see EventBatching).
  virtual int fd(net::Instant /*now*/) const { return -1; }
  // Returns when the supervisor must take a turn for this strategy even if
  // nothing happens.
  virtual net::Instant alarm(net::Instant /*now*/) const {
    return net::Never();
  }
  // Processes the events that fd() announces.
  virtual void Attend(net::Instant /*now*/, Events& /*events*/) {}
  // Creates and dismisses processes ahead of connections. Called in each turn;
  // `idle` if nothing else had to be done: the time for work that a client
  // would otherwise wait for.
  virtual void Maintain(net::Instant /*now*/, bool /*idle*/,
                        Events& /*events*/) {}

  // Closes descriptors of processes that wait for connections, because accept
  // found none free. Soon, not before it returns.
  virtual void FreeDescriptors() {}

  // Gives connections that are dispatched from now on to processes that are
  // created from now on.
  virtual absl::Status BeginGeneration() { return absl::OkStatus(); }
  // Lets processes go that wait for connections: none will be dispatched any
  // more.
  virtual void Close() {}
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_STRATEGY_H_
