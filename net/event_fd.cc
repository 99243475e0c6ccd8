// SPDX-License-Identifier: Apache-2.0

#include "brood/net/event_fd.h"

#include <sys/eventfd.h>

#include <cerrno>

#include "absl/status/status.h"

namespace brood::net {

absl::StatusOr<EventFd> EventFd::Create() {
  UniqueFd fd = UniqueFd::AboveStandardDescriptors(
      UniqueFd::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "eventfd");
  return EventFd(std::move(fd));
}

// Writes errno only after an error: in a process that forks, the first write
// after a fork copies a page.
void EventFd::Notify(uint64_t count) const {
  const int saved_errno = errno;
  if (eventfd_write(fd_.fd(), count) < 0) errno = saved_errno;
}

uint64_t EventFd::Take() const {
  const int saved_errno = errno;
  eventfd_t count = 0;
  if (eventfd_read(fd_.fd(), &count) < 0) {
    errno = saved_errno;
    return 0;
  }
  return count;
}

}  // namespace brood::net
