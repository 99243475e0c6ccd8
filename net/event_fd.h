// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_EVENT_FD_H_
#define BROOD_NET_EVENT_FD_H_

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "brood/net/unique_fd.h"

namespace brood::net {

// EventFd: a counter in the kernel that one side increases and another polls.
//
// A resource: it is moved, never copied. A process forked from the creator
// shares the counter. The descriptor of Create() is close-on-exec, non-blocking
// and above the standard descriptors; it is readable while the counter is not
// zero.
//
// Notify() is thread-safe and async-signal-safe. Neither Notify() nor Take()
// blocks, allocates or changes errno.
//
// Errors: Create() names the call.
//
// Example:
//   absl::StatusOr<EventFd> doorbell = EventFd::Create();
//   if (!doorbell.ok()) return doorbell.status();
//   doorbell->Notify();
//   ... poll doorbell->fd() ...
//   if (doorbell->Take() > 0) Attend();
class EventFd {
 public:
  // Owns nothing: fd() is -1.
  EventFd() = default;
  // Creates a counter whose value is zero.
  static absl::StatusOr<EventFd> Create();
  // Takes ownership of `fd`, a counter that was created elsewhere: an eventfd
  // that does not block. Its flags and its value stay as they are.
  static EventFd Adopt(UniqueFd fd) { return EventFd(std::move(fd)); }

  // Adds `count` to the counter. Does nothing if the counter is full.
  void Notify(uint64_t count = 1) const;
  // Returns the counter and resets it to zero.
  uint64_t Take() const;

  // Lends the descriptor, to be polled or to be inherited by another program.
  int fd() const { return fd_.fd(); }

 private:
  // Takes ownership of `fd`, an eventfd, without a change of its flags.
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace brood::net

#endif  // BROOD_NET_EVENT_FD_H_
