#include "brood/net/socket.h"

#include <fcntl.h>
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

Socket Socket::AboveStandardDescriptors(Socket socket) {
  if (!socket.valid() || socket.fd() > STDERR_FILENO) return socket;
  return Socket(fcntl(socket.fd(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

void Socket::Close() {
  if (fd_ < 0) return;
  const int saved_errno = errno;
  if (close(std::exchange(fd_, -1)) < 0) errno = saved_errno;
}

}  // namespace brood::net
