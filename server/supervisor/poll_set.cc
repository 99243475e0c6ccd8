#include "brood/server/supervisor/poll_set.h"

#include <cerrno>
#include <ctime>

#include "absl/time/time.h"

namespace brood::server {

size_t PollSet::Add(int fd) {
  polled_.push_back({fd, POLLIN, 0});
  return polled_.size() - 1;
}

void PollSet::Forget(size_t place, int fd) {
  if (ready_fd_) ready_fd_->Forget(fd);
  polled_[place] = {-1, POLLIN, 0};
}

int PollSet::Await(net::Instant now, net::Instant alarm) {
  const timespec timeout = absl::ToTimespec(net::TimeUntil(alarm, now));
  const int ready = ppoll(polled_.data(), polled_.size(),
                          alarm == net::Never() ? nullptr : &timeout, nullptr);
  quiet_ = ready == 0;
  if (ready >= 0) return 0;
  // An embedder's signal handler may interrupt the wait: then nothing is ready.
  // If the kernel can't look (for want of memory, or because the process may
  // have fewer descriptors by now than are polled), anything may be: to try
  // blocks nowhere.
  const int error = errno;
  const bool may_be_ready = error != EINTR;
  for (pollfd& polled : polled_) {
    polled.revents = may_be_ready && polled.fd >= 0 ? POLLIN : 0;
  }
  return may_be_ready ? error : 0;
}

absl::StatusOr<int> PollSet::Fd(net::Instant alarm) {
  if (!ready_fd_) {
    absl::StatusOr<ReadyFd> ready_fd = ReadyFd::Create();
    if (!ready_fd.ok()) return ready_fd.status();
    ready_fd_.emplace(*std::move(ready_fd));
    Announce(alarm);
  }
  return ready_fd_->fd();
}

}  // namespace brood::server
