// SPDX-License-Identifier: Apache-2.0

// Requests: what a server is asked from outside its loop, until it looks.
//
// Anyone may ask: another thread, a signal handler, another server of this
// process that found a signal which concerns them all. The loop polls fd() and
// takes what has come. Asking never blocks, fails, or changes errno.
//
// Lives in the parent, which owns it; Ask...() is async-signal-safe and
// thread-safe, Take() is for the loop.
//
// Errors: Create() names the call.
//
// Example:
//   absl::StatusOr<Requests> requests = Requests::Create();
//   requests->AskToDrain();
//   ... poll requests->fd() ...
//   const Requests::Taken taken = requests->Take();
//   for (int i = 0; i < taken.drains; ++i) Drain();

#ifndef BROOD_SERVER_CONTROL_REQUESTS_H_
#define BROOD_SERVER_CONTROL_REQUESTS_H_

#include <utility>

#include "absl/status/statusor.h"
#include "brood/net/event_fd.h"
#include "brood/proc/private_fds.h"

namespace brood::server {

class Requests {
 public:
  struct Taken {
    // How often it was asked to stop; more than kMostDrains change nothing.
    int drains = 0;
    // Whether it was asked, at least once, to let a new program take over.
    bool upgrade = false;
  };
  static constexpr int kMostDrains = 3;

  static absl::StatusOr<Requests> Create();

  void AskToDrain() const;
  void AskToUpgrade() const;

  // Readable while a request waits.
  int fd() const { return event_.fd(); }
  Taken Take() const;

 private:
  explicit Requests(net::EventFd event) : event_(std::move(event)) {}

  // One counter for both: drains in its lower half, upgrades in the upper.
  proc::Private<net::EventFd> event_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_CONTROL_REQUESTS_H_
