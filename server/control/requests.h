// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CONTROL_REQUESTS_H_
#define BROOD_SERVER_CONTROL_REQUESTS_H_

#include <utility>

#include "absl/status/statusor.h"
#include "brood/net/event_fd.h"
#include "brood/proc/private_fds.h"

namespace brood::server {

// Requests holds what was requested of a server from outside its loop, until
// the loop takes it.
//
// A request may come from another thread, from a signal handler, or from
// another server of this process that took a signal for all of them. The loop
// polls fd(). A request never blocks, fails, or changes errno.
//
// Lives in the parent, which owns it. RequestStop() and RequestUpgrade() are
// async-signal-safe and thread-safe; Take() is for the loop.
//
// Errors: Create() names the call.
//
// Example:
//   absl::StatusOr<Requests> requests = Requests::Create();
//   requests->RequestStop();
//   ... poll requests->fd() ...
//   const Requests::Taken taken = requests->Take();
//   for (int i = 0; i < taken.stops; ++i) Stop();
class Requests {
 public:
  // Taken is what was requested since the last Take().
  struct Taken {
    // The number of requests to stop, kMostStops at most.
    int stops = 0;
    // Whether an upgrade was requested at least once.
    bool upgrade = false;
  };
  // The number of requests to stop beyond which another one changes nothing.
  static constexpr int kMostStops = 3;

  // Returns an object without requests.
  static absl::StatusOr<Requests> Create();

  // Requests that the server drains; a second time, that it terminates.
  void RequestStop() const;
  // Requests that a new program takes over.
  void RequestUpgrade() const;

  // Returns a descriptor that is readable while a request waits for Take().
  int fd() const { return event_.fd(); }
  // Returns the requests that wait, and removes them.
  Taken Take() const;

 private:
  // Takes ownership of `event`, whose counter is zero.
  explicit Requests(net::EventFd event) : event_(std::move(event)) {}

  // Counts both kinds: requests to stop in the lower half of the counter,
  // requests for an upgrade in the upper half.
  proc::Private<net::EventFd> event_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONTROL_REQUESTS_H_
