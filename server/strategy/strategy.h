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
#include "brood/net/peer_address.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/log/event_log.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/server/vocabulary/slot.h"

namespace brood::server {

struct ExecutedProgram;

// StrategyEnvironment are the objects that a strategy uses. A value of the
// parent; the objects outlive the strategy. Children use `spawner` and
// `program`, which must therefore be in ordinary memory.
struct StrategyEnvironment {
  // Creates the processes.
  proc::Spawner* spawner;
  // Owns the processes from their creation until they have been reaped.
  proc::Reaper* reaper;
  // Describes what a child does for its connection.
  const ChildProgram* program;
  // Logs what happens to the processes that wait for connections.
  EventLog* log;
  // The state of children when they begin, which `spawner` gives them.
  proc::ChildSettings settings = {};
  // The program that serves connections; null if a function does.
  const ExecutedProgram* executed = nullptr;
};

// Rehearsal is a child that was created to see whether, and how, children can
// be created. It runs no handler and no Options::prepare_child. A value.
struct Rehearsal {
  // The child, which has the tag kRehearsal; 0 if none was created.
  pid_t pid = 0;
  // How children are created, if not in the best way.
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
  // Events is the interface by which a strategy reports progress to the owner
  // of the connections, during the calls below. The reports for each slot are
  // Serving or Assigned, then Ended; or only Failed; before them any number of
  // Returned, Refused and Deferred. An implementation must not call the
  // strategy back: it collects what has to be done (see Connections).
  class Events {
   public:
    // Reports that process `pid`, which was created for the connection, has
    // owned it since `since`. Its handler reports to the page with the number
    // of the slot.
    virtual void Serving(Slot slot, pid_t pid, net::Instant since) = 0;
    // Reports that process `pid`, which was created before, has owned the
    // connection since `since`. Its handler reports to `page`.
    virtual void Assigned(Slot slot, pid_t pid, net::Instant since,
                          uint32_t page) = 0;
    // Reports that process `pid` finished the connection at `at`.
    virtual void Ended(Slot slot, pid_t pid, const proc::ExitStatus& status,
                       net::Instant at) = 0;
    // Returns a connection that process `pid` did not take over before it ended
    // with `status`. No byte was read; another process can serve it.
    virtual void Returned(Slot slot, net::Connection connection, pid_t pid,
                          const proc::ExitStatus& status) = 0;
    // Returns a connection for which no process can be created for now. No byte
    // was read; it can be dispatched again.
    virtual void Refused(Slot slot, net::Connection connection,
                         const absl::Status& why, net::Instant now) = 0;
    // Returns a connection for which there is no room for now. No byte was
    // read; it can be dispatched again when HasRoom() returns true.
    virtual void Deferred(Slot slot, net::Connection connection,
                          const absl::Status& why, net::Instant now) = 0;
    // Reports that no process could be created, and that the connection has
    // been closed.
    virtual void Failed(Slot slot, const absl::Status& why,
                        net::Instant now) = 0;

    // Returns when deadlines.connection ends the connection in `slot`, whatever
    // its process reports; Never() without that deadline. Must not be called
    // after Ended().
    virtual net::Instant DeadlineOf(Slot slot) = 0;
    // Returns the address of the client of the connection in `slot`. Must not
    // be called after Ended().
    virtual net::PeerAddress PeerOf(Slot slot) = 0;

   protected:
    ~Events() = default;
  };

  virtual ~Strategy() = default;

  // Creates what must be created while the program is still small and
  // single-threaded. Called once, when the server is created.
  virtual absl::Status Start() { return absl::OkStatus(); }
  // Creates a child in the same way as children of connections will be created.
  // Called once, after Start(), for a strategy that can create processes from
  // then on. Errors: Unimplemented, naming the strategy, if it cannot work on
  // this machine; otherwise those of Spawner::Spawn.
  virtual absl::StatusOr<Rehearsal> RehearseAtStart() { return Rehearsal(); }
  // Creates a child as RehearseAtStart() does, for a strategy that creates
  // processes in the loop. Called after the first Prepare(). Errors: those of
  // Spawner::Spawn.
  virtual absl::StatusOr<Rehearsal> RehearseToServe() { return Rehearsal(); }
  // Records the state of this process that code of the embedder may have
  // changed. Called before the first Dispatch(), and again whenever such code
  // has run. Fails if this process cannot create processes.
  virtual absl::Status Prepare() = 0;

  // Records that this process has other rights than when the server was
  // created, or than at the last call: `what` names the difference, in the
  // terms of ProcessIdentity. From then on, connections go to processes that
  // have the new rights, and are created after this call. Fails if there can be
  // no such processes.
  virtual absl::Status IdentityChanged(absl::string_view /*what*/) {
    return BeginGeneration();
  }

  // Returns whether a connection can be dispatched now. If not, no connection
  // is accepted until fd() is readable or alarm() has passed, and HasRoom()
  // returns true.
  virtual bool HasRoom() const { return true; }
  // Gives `connection` to a process, and closes this process's copy.
  virtual void Dispatch(Slot slot, net::Connection connection, net::Instant now,
                        Events& events) = 0;

  // Registers with the reaper the children that another process created for
  // this one. Called before and after the reaper looks for children that ended.
  virtual void AdoptSpawned() {}
  // Records the end of a child of the strategy that has been reaped; `tag` is
  // unpacked from `ended.tag`.
  virtual void ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                          net::Instant now, Events& events) = 0;

  // Returns a descriptor that is readable when Attend() has events to process.
  // Returns -1 if events need not wake the supervisor: because there are none,
  // or because they wait for the next turn (see EventBatching). Attend() is
  // then called in each turn.
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

  // Makes descriptors free, because accept found none: closes those of
  // processes that wait for connections. They may become free only soon after
  // this call returns.
  virtual void FreeDescriptors() {}

  // Gives connections that are dispatched from now on to processes that are
  // created from now on.
  virtual absl::Status BeginGeneration() { return absl::OkStatus(); }
  // Tells the processes that wait for connections to exit: no connection will
  // be dispatched any more.
  virtual void Close() {}
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_STRATEGY_H_
