// SPDX-License-Identifier: Apache-2.0

// ReadyFd: one descriptor that is readable when a server has something to do.
//
// For a program with an event loop of its own, which polls this and calls
// Step(). Lives in the parent. It stands for the descriptors that the
// supervisor would itself poll, and for its next alarm; Watch() tells it when
// these have changed. Poll it, epoll it; do not read it.
//
// Errors: Create() names the call. Watch() can't fail for descriptors that are
// open.
//
// Example:
//   absl::StatusOr<ReadyFd> ready = ReadyFd::Create();
//   ready->Watch(polled, alarm);
//   ... poll ready->fd(), then Step(), then Watch() again ...

#ifndef BROOD_SERVER_SUPERVISOR_READY_FD_H_
#define BROOD_SERVER_SUPERVISOR_READY_FD_H_

#include <poll.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/private_fds.h"

namespace brood::server {

class ReadyFd {
 public:
  static absl::StatusOr<ReadyFd> Create();

  int fd() const { return epoll_.fd(); }

  // From now on: readable when one of `polled` is (those that are not negative)
  // or when the `alarm` has come.
  void Watch(absl::Span<const pollfd> polled, net::Instant alarm);
  // To be called before `fd` is closed. A child that is just being born may
  // hold it for a moment longer, and so keep it watched.
  void Forget(int fd);

 private:
  ReadyFd(net::UniqueFd epoll, net::UniqueFd timer);

  bool Unwatch(size_t place);

  proc::Private<net::UniqueFd> epoll_;
  proc::Private<net::UniqueFd> timer_;
  std::vector<int> watched_;  // place by place, -1 for none
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_READY_FD_H_
