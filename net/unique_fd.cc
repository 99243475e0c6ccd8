// SPDX-License-Identifier: Apache-2.0

#include "brood/net/unique_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace brood::net {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

UniqueFd UniqueFd::AboveStandardDescriptors(UniqueFd fd) {
  if (!fd.valid() || fd.fd() > STDERR_FILENO) return fd;
  return UniqueFd(fcntl(fd.fd(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

void UniqueFd::Close() {
  if (fd_ < 0) return;
  const int saved_errno = errno;
  if (close(std::exchange(fd_, -1)) < 0) errno = saved_errno;
}

}  // namespace brood::net
