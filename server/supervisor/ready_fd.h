// SPDX-License-Identifier: Apache-2.0

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

// ReadyFd is one descriptor that is readable when a server has something to do.
//
// It is for a program with an event loop of its own, which polls the descriptor
// and calls Step(). It stands for the descriptors that the supervisor itself
// would poll, and for its next alarm; the supervisor calls Watch() when these
// have changed. Poll it or add it to an epoll set; do not read it.
//
// Lives in the parent. Errors: Create() names the call. Watch() cannot fail for
// descriptors that are open.
//
// Example:
//   absl::StatusOr<ReadyFd> ready = ReadyFd::Create();
//   ready->Watch(polled, alarm);
//   ... poll ready->fd(), then Step(), then Watch() again ...
class ReadyFd {
 public:
  // Returns a descriptor that is not readable until Watch() is called.
  static absl::StatusOr<ReadyFd> Create();

  // Lends the descriptor.
  int fd() const { return epoll_.fd(); }

  // Makes the descriptor readable when a descriptor of `polled` that is not
  // negative is readable, or when `alarm` has passed.
  void Watch(absl::Span<const pollfd> polled, net::Instant alarm);
  // Stops watching `fd`. Must be called before `fd` is closed: a child that is
  // being forked may hold a copy for a moment longer, and the kernel would
  // watch that.
  void Forget(int fd);

 private:
  // Takes ownership of `epoll` and of `timer`, which `epoll` watches, and makes
  // both private.
  ReadyFd(net::UniqueFd epoll, net::UniqueFd timer);

  // Watches `fd`, unless it is negative. Returns false if the kernel refuses.
  bool Add(int fd) const;
  // Stops watching the descriptor in `watched_[place]`, if there is one.
  // Returns false, and keeps it there, if the kernel refuses.
  bool Unwatch(size_t place);

  proc::Private<net::UniqueFd> epoll_;
  proc::Private<net::UniqueFd> timer_;
  std::vector<int> watched_;  // by index in `polled`; -1 for none
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_READY_FD_H_
