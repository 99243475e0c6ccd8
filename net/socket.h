// Socket: the owner of one socket descriptor.
//
// A resource: moved, never copied; closed exactly once. Works in either
// process; after a fork each process owns, and must close, a copy of its own.
// Not thread-safe.
//
// close() is never retried (Linux has freed the descriptor even when it says
// EINTR) and leaves errno alone, so it cannot hide the error that led to it.
//
// Errors: there are none. Adopt() takes what socket() or accept4() gave, and
// valid() says whether that was a descriptor; errno is still theirs.
//
// Example:
//   Socket socket = Socket::Adopt(
//       accept4(listening_fd, nullptr, nullptr, SOCK_CLOEXEC));
//   if (!socket.valid()) return absl::ErrnoToStatus(errno, "accept4");
//   shutdown(socket.fd(), SHUT_WR);        // lends it
//   int fd = std::move(socket).Release();  // gives it up

#ifndef BROOD_NET_SOCKET_H_
#define BROOD_NET_SOCKET_H_

#include <utility>

namespace brood::net {

class Socket {
 public:
  // Owns nothing.
  Socket() = default;
  // Takes ownership of `fd`; a negative one means nothing.
  static Socket Adopt(int fd) { return Socket(fd); }
  // The same socket under a number above 2; not valid, with errno, if there is
  // none. A program may close its standard descriptors, and a connection would
  // then get one of their numbers, and be sent what is printed.
  static Socket AboveStandardDescriptors(Socket socket);

  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { Close(); }

  bool valid() const { return fd_ >= 0; }
  // Lends the descriptor; -1 when nothing is owned.
  int fd() const { return fd_; }
  // Gives the descriptor up to the caller.
  int Release() && { return std::exchange(fd_, -1); }
  // Closes now instead of at the end of the scope.
  void Close();

 private:
  explicit Socket(int fd) : fd_(fd) {}

  int fd_ = -1;
};

}  // namespace brood::net

#endif  // BROOD_NET_SOCKET_H_
