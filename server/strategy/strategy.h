// Strategy: how a connection gets a process of its own.
//
// The supervisor accepts, admits, counts and reaps; the strategy alone knows
// when and from what processes are made. The supervisor never knows which one
// it has. Lives in the parent.
//
// Example: see fork_per_connection.h, the reference.

#ifndef BROOD_SERVER_STRATEGY_STRATEGY_H_
#define BROOD_SERVER_STRATEGY_STRATEGY_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/proc/child.h"

namespace brood::server {

class Strategy {
 public:
  virtual ~Strategy() = default;

  // Gives `connection` to a process, which the caller must reap. This process
  // keeps no copy of it, whether it succeeds or fails; if it fails, that closes
  // the connection.
  virtual absl::StatusOr<proc::Child> Dispatch(net::Connection connection) = 0;

  // Children do not see `fd`, which belongs to the supervisor, until Unhide();
  // it is taken back when `fd` is closed, for its number may come again.
  virtual void Hide(int fd) = 0;
  virtual void Unhide(int fd) = 0;
  // Before the first Dispatch(), and again when code that is not the server's
  // has run: looks at what it may have changed about this process. Fails if no
  // process can be made from it.
  virtual absl::Status Prepare() = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_STRATEGY_H_
