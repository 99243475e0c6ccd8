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

void EventFd::Notify(uint64_t count) const {
  const int saved_errno = errno;
  eventfd_write(fd_.fd(), count);
  errno = saved_errno;
}

uint64_t EventFd::Take() const {
  const int saved_errno = errno;
  eventfd_t count = 0;
  if (eventfd_read(fd_.fd(), &count) < 0) count = 0;
  errno = saved_errno;
  return count;
}

}  // namespace brood::net
