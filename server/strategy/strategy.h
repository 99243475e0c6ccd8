// Strategy: how a connection gets a process.
//
// The supervisor accepts, admits, counts and reaps; the strategy alone knows
// when and from what processes are made. The supervisor never knows which one
// it has: it gives a connection away, with the slot that stands for it in the
// account, and hears by Events what became of it.
//
// Lives in the parent, in the supervisor's thread. Children are on the reaper's
// books with the strategy's own tags, so their ends come back to it first.
//
// Example: see fork_per_connection.h, the reference.

#ifndef BROOD_SERVER_STRATEGY_STRATEGY_H_
#define BROOD_SERVER_STRATEGY_STRATEGY_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/status/status.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/reaper.h"

namespace brood::server {

class Strategy {
 public:
  using Slot = uint32_t;

  // What the supervisor hears, during the calls that it makes. For each slot:
  // Serving, then Ended; or Failed; or, any number of times before, Returned.
  class Events {
   public:
    // Process `pid` has the connection, since then.
    virtual void Serving(Slot slot, pid_t pid, net::Instant since) = 0;
    // And was done with it at that time.
    virtual void Ended(Slot slot, pid_t pid, const proc::ExitStatus& status,
                       net::Instant at) = 0;
    // The process that was to have it died before it took it over. Nothing was
    // read: another one can serve it.
    virtual void Returned(Slot slot, net::Connection connection) = 0;
    // No process could be made for it; it is closed.
    virtual void Failed(Slot slot, const absl::Status& why) = 0;

   protected:
    ~Events() = default;
  };

  virtual ~Strategy() = default;

  // Once, when the server is created: makes what must be made while the program
  // is still small and single-threaded.
  virtual absl::Status Start() { return absl::OkStatus(); }
  // Before the first Dispatch(), and again when code that is not the server's
  // has run: looks at what it may have changed about this process. Fails if no
  // process can be made from it.
  virtual absl::Status Prepare() = 0;

  // Whether a connection could be given away now. If not, none is accepted; a
  // readable fd() says when to ask again.
  virtual bool HasRoom() const { return true; }
  // Gives `connection` to a process. Nothing of it stays open here.
  virtual void Dispatch(Slot slot, net::Connection connection,
                        Events& events) = 0;
  // A child of the strategy's was reaped.
  virtual void ChildEnded(const proc::Reaper::Ended& ended, Events& events) = 0;

  // Readable when there is news for Attend(); -1 if there never is. News are of
  // work that was done without the parent, so they can wait for a little while
  // for a turn that it has anyway; unless they are Urgent().
  virtual int fd() const { return -1; }
  virtual bool Urgent() const { return false; }
  virtual void Attend(Events& /*events*/) {}
  // In each turn. `quiet` if nothing else was there to do: the time for work
  // that somebody might otherwise wait for.
  virtual void Maintain(net::Instant /*now*/, bool /*quiet*/,
                        Events& /*events*/) {}
  // When Maintain() wants to be called, if nothing happens before.
  virtual net::Instant next_maintenance() const { return net::Never(); }

  // From now on connections are given to processes made from now on.
  virtual absl::Status BeginGeneration() { return absl::OkStatus(); }
  // No connection will come any more: processes that wait for one may go.
  virtual void Close() {}
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_STRATEGY_H_
