// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/poll_set.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "absl/time/time.h"

namespace brood::server {

size_t PollSet::Add() {
  polled_.push_back({-1, POLLIN, 0});
  alarms_.push_back(net::Never());
  unmasked_.reserve(polled_.size());
  return polled_.size() - 1;
}

void PollSet::Forget(size_t index, int fd) {
  if (ready_fd_) ready_fd_->Forget(fd);
  polled_[index] = {-1, POLLIN, 0};
}

net::Instant PollSet::NextAlarm() const {
  return *std::min_element(alarms_.begin(), alarms_.end());
}

int PollSet::Wait(net::Instant now, net::Instant until) {
  const int error = Poll(now, std::min(until, NextAlarm()));
  timed_out_ = unmasked_.empty() ||
               std::none_of(unmasked_.begin(), unmasked_.end(),
                            [](const pollfd& each) { return each.revents; });
  auto next = unmasked_.begin();
  for (pollfd& each : polled_) {
    each.revents = each.fd < 0 ? short{0} : (next++)->revents;
  }
  return error;
}

// Fills in the results of unmasked_.
int PollSet::Poll(net::Instant now, net::Instant alarm) {
  unmasked_.clear();
  for (const pollfd& each : polled_) {
    if (each.fd >= 0) unmasked_.push_back({each.fd, POLLIN, 0});
  }
  const timespec timeout = absl::ToTimespec(net::TimeUntil(alarm, now));
  const int ready = ppoll(unmasked_.data(), unmasked_.size(),
                          alarm == net::Never() ? nullptr : &timeout, nullptr);
  if (ready >= 0) return 0;
  // A signal handler of the embedder may interrupt the wait: then nothing is
  // ready. If the kernel cannot look (for want of memory, or because the
  // process may have fewer descriptors by now than are polled), any source may
  // be: trying each blocks nowhere.
  const int error = errno;
  const bool may_be_ready = error != EINTR;
  for (pollfd& each : unmasked_) {
    each.revents = may_be_ready ? short{POLLIN} : short{0};
  }
  return may_be_ready ? error : 0;
}

absl::StatusOr<int> PollSet::Fd() {
  if (!ready_fd_) {
    absl::StatusOr<ReadyFd> ready_fd = ReadyFd::Create();
    if (!ready_fd.ok()) return ready_fd.status();
    ready_fd_.emplace(*std::move(ready_fd));
    Publish();
  }
  return ready_fd_->fd();
}

void PollSet::Publish() {
  if (ready_fd_) ready_fd_->Watch(polled_, NextAlarm());
}

}  // namespace brood::server
