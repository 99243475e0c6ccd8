// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_UNIQUE_FD_H_
#define BROOD_NET_UNIQUE_FD_H_

#include <utility>

namespace brood::net {

// UniqueFd: the owner of one file descriptor, of any kind.
//
// A resource: it is moved, never copied, and closes its descriptor exactly
// once. It works in the parent and in a child; after a fork each process owns,
// and must close, its own copy. Not thread-safe.
//
// close() is never retried (Linux has freed the descriptor even when close()
// reports EINTR), and errno is left as it was, so closing cannot replace the
// error that led to it.
//
// Errors: none. Adopt() accepts what a system call returned; valid() reports
// whether that was a descriptor, and errno is still that of the system call.
//
// Example:
//   UniqueFd directory =
//       UniqueFd::Adopt(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
//   if (!directory.valid()) return absl::ErrnoToStatus(errno, "open /");
//   flock(directory.fd(), LOCK_SH);           // lends it
//   int fd = std::move(directory).Release();  // gives it up
class UniqueFd {
 public:
  // Owns nothing.
  UniqueFd() = default;
  // Takes ownership of `fd`; a negative `fd` stands for nothing.
  static UniqueFd Adopt(int fd) { return UniqueFd(fd); }
  // Returns the same open file under a descriptor above 2; on failure a
  // UniqueFd that is not valid, with errno. A program may close its standard
  // descriptors: a connection that got one of their numbers would then be sent
  // what the program prints.
  static UniqueFd AboveStandardDescriptors(UniqueFd fd);

  // Takes over the descriptor of `other`, which then owns nothing.
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  // Closes the descriptor owned so far and takes over that of `other`.
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  // Closes the descriptor.
  ~UniqueFd() { Close(); }

  // Reports whether a descriptor is owned.
  bool valid() const { return fd_ >= 0; }
  // Lends the descriptor; -1 if none is owned.
  int fd() const { return fd_; }
  // Returns the descriptor, and its ownership with it.
  int Release() && { return std::exchange(fd_, -1); }
  // Closes the descriptor now instead of at the end of the scope.
  void Close();

 private:
  // Takes ownership of `fd`; -1 stands for no descriptor.
  explicit UniqueFd(int fd) : fd_(fd) {}

  int fd_ = -1;
};

}  // namespace brood::net

#endif  // BROOD_NET_UNIQUE_FD_H_
