// PollSet: what the supervisor waits for, and which of it came.
//
// The one place where the parent sleeps. Each descriptor has a place, in the
// order in which they were added; a place that is for none just now is left
// out. A program with an event loop of its own waits for all of them by one
// descriptor (server/ready_fd.h), and for the alarm too.
//
// Lives in the parent, in memory that children do not get. The descriptors stay
// the caller's. Errors: Await() gives the errno of ppoll, Fd() the status of
// ReadyFd::Create().
//
// Example:
//   PollSet poll;
//   const size_t deaths = poll.Add(reaper.fd());
//   const int error = poll.Await(now, alarm);
//   if (poll.Came(deaths)) reaper.CleanupChildren(now, deliver);

#ifndef BROOD_SERVER_SUPERVISOR_POLL_SET_H_
#define BROOD_SERVER_SUPERVISOR_POLL_SET_H_

#include <poll.h>

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/server/supervisor/ready_fd.h"

namespace brood::server {

class PollSet {
 public:
  // Gives the place of `fd`, which may be negative: for none so far.
  size_t Add(int fd);
  void Set(size_t place, int fd) { polled_[place].fd = fd; }
  // To be called before `fd`, which `place` was for, is closed.
  void Forget(size_t place, int fd);

  // Waits until something is to be read at one of the places, or `alarm`. Not 0
  // if the kernel could not look: then something may have come anywhere.
  int Await(net::Instant now, net::Instant alarm);

  // Of the last wait: whether something came to `place`,
  bool Came(size_t place) const { return polled_[place].revents != 0; }
  // whether it was left out,
  bool LeftOut(size_t place) const { return polled_[place].fd < 0; }
  // and whether nothing came at all.
  bool quiet() const { return quiet_; }

  // Readable when Await() until `alarm` would return, as of now and of each
  // Announce().
  absl::StatusOr<int> Fd(net::Instant alarm);
  bool has_fd() const { return ready_fd_.has_value(); }
  // If somebody has it, which has_fd() tells.
  void Announce(net::Instant alarm) { ready_fd_->Watch(polled_, alarm); }

 private:
  proc::ParentOnlyVector<pollfd> polled_;
  bool quiet_ = true;
  absl::optional<ReadyFd> ready_fd_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_POLL_SET_H_
