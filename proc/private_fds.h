// Hidden descriptors: those of the framework, which no child shall have.
//
// A child inherits every descriptor, and one that it should not have does harm
// by being open: a listener keeps its port taken, a queue never ends. Whoever
// opens such a descriptor keeps a HiddenFd beside it; each child, of whichever
// Spawner in this process, closes them all at its birth. So two servers in one
// program do not leak into each other's children.
//
// HiddenFd lives in the parent. Ownership: the descriptor stays its opener's,
// and must outlive the HiddenFd: its number may come again, for something that
// children need. Thread-safe. What is hidden belongs to one process: a child
// begins with nothing hidden.
//
// Example:
//   int fd = epoll_create1(EPOLL_CLOEXEC);
//   HiddenFd hidden(fd);

#ifndef BROOD_PROC_PRIVATE_FDS_H_
#define BROOD_PROC_PRIVATE_FDS_H_

#include <cstddef>
#include <utility>

#include "absl/types/span.h"

namespace brood::proc {

class HiddenFd {
 public:
  // Hides nothing.
  HiddenFd() = default;
  // A negative `fd` is nothing.
  explicit HiddenFd(int fd);

  HiddenFd(HiddenFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  HiddenFd& operator=(HiddenFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~HiddenFd();

 private:
  int fd_ = -1;
};

// In the child, by its Spawner: closes what is hidden, except `kept`, which is
// in ascending order.
void CloseHiddenFds(absl::Span<const int> kept);

// Makes room, so that hiding `more` descriptors from now on allocates nothing.
void ReserveHiddenFds(size_t more);

// In a process that is about to have children of its own: what its parent hid
// is closed here, and the numbers mean something else.
void ForgetFdsHiddenByParent();

}  // namespace brood::proc

#endif  // BROOD_PROC_PRIVATE_FDS_H_
