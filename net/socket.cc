#include "brood/net/socket.h"

#include <unistd.h>

#include <cerrno>

namespace brood::net {

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Socket::Close() {
  if (fd_ < 0) return;
  const int saved_errno = errno;
  if (close(std::exchange(fd_, -1)) < 0) errno = saved_errno;
}

}  // namespace brood::net
