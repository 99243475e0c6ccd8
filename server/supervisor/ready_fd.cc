// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/ready_fd.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace brood::server {
namespace {

// How soon the embedder is woken to look at a descriptor that cannot be
// watched.
constexpr absl::Duration kUnwatchedPeriod = absl::Milliseconds(10);

}  // namespace

absl::StatusOr<ReadyFd> ReadyFd::Create() {
  net::UniqueFd epoll = net::UniqueFd::Adopt(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return absl::ErrnoToStatus(errno, "epoll_create1");
  net::UniqueFd timer = net::UniqueFd::Adopt(
      timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.valid()) return absl::ErrnoToStatus(errno, "timerfd_create");
  epoll_event readable = {};
  readable.events = EPOLLIN;
  if (epoll_ctl(epoll.fd(), EPOLL_CTL_ADD, timer.fd(), &readable) < 0) {
    return absl::ErrnoToStatus(errno, "epoll_ctl");
  }
  return ReadyFd(std::move(epoll), std::move(timer));
}

ReadyFd::ReadyFd(net::UniqueFd epoll, net::UniqueFd timer)
    : epoll_(std::move(epoll)), timer_(std::move(timer)) {}

void ReadyFd::Watch(absl::Span<const pollfd> polled, net::Instant alarm) {
  watched_.resize(polled.size(), -1);
  for (size_t place = 0; place < polled.size(); ++place) {
    if (watched_[place] == polled[place].fd) continue;
    if (!Unwatch(place) || !Add(polled[place].fd)) {
      // There is no memory, or the user has too many watches. Until the
      // descriptor can be added, the embedder is woken to look itself.
      alarm = std::min(alarm, net::After(net::Now(), kUnwatchedPeriod));
      continue;
    }
    watched_[place] = polled[place].fd;
  }
  // A time in the past is due at once; zero would mean never.
  itimerspec at = {};
  if (alarm != net::Never()) {
    const absl::Duration since_start =
        absl::FromChrono(std::max(alarm, net::Instant()).time_since_epoch());
    at.it_value = absl::ToTimespec(std::max(since_start, absl::Nanoseconds(1)));
  }
  timerfd_settime(timer_.fd(), TFD_TIMER_ABSTIME, &at, nullptr);
}

void ReadyFd::Forget(int fd) {
  for (size_t place = 0; place < watched_.size(); ++place) {
    if (watched_[place] != fd) continue;
    Unwatch(place);
    watched_[place] = -1;  // it will be closed, which does the same
  }
}

bool ReadyFd::Add(int fd) const {
  if (fd < 0) return true;
  epoll_event readable = {};
  readable.events = EPOLLIN;
  return epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, fd, &readable) == 0;
}

// A descriptor that was closed is not watched any more.
bool ReadyFd::Unwatch(size_t place) {
  if (watched_[place] >= 0 &&
      epoll_ctl(epoll_.fd(), EPOLL_CTL_DEL, watched_[place], nullptr) < 0 &&
      errno != EBADF && errno != ENOENT) {
    return false;
  }
  watched_[place] = -1;
  return true;
}

}  // namespace brood::server
