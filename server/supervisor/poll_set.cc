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
  idle_wakes_.emplace_back();
  unmasked_.reserve(polled_.size());
  return polled_.size() - 1;
}

void PollSet::Forget(size_t index, int fd) {
  if (ready_fd_) ready_fd_->Forget(fd);
  polled_[index] = {-1, POLLIN, 0};
  idle_wakes_[index] = IdleWakes();
}

net::Instant PollSet::NextAlarm(net::Instant now) const {
  net::Instant next = *std::min_element(alarms_.begin(), alarms_.end());
  for (size_t i = 0; i < polled_.size(); ++i) {
    if (polled_[i].fd < 0 || IsPolled(i, now)) continue;
    next = std::min(next, idle_wakes_[i].paused_until);
  }
  return next;
}

int PollSet::Wait(net::Instant now, net::Instant until) {
  last_wait_ = now;
  paused_ = absl::nullopt;
  const int error = Poll(now, std::min(until, NextAlarm(now)));
  timed_out_ = unmasked_.empty() ||
               std::none_of(unmasked_.begin(), unmasked_.end(),
                            [](const pollfd& each) { return each.revents; });
  auto next = unmasked_.begin();
  for (size_t i = 0; i < polled_.size(); ++i) {
    polled_[i].revents = IsPolled(i, now) ? (next++)->revents : short{0};
  }
  for (size_t i = 0; i < polled_.size(); ++i) {
    if (polled_[i].revents != 0) CountWake(i, now);
  }
  return error;
}

void PollSet::CountWake(size_t index, net::Instant now) {
  IdleWakes& wakes = idle_wakes_[index];
  if (wakes.count == 0 || now >= net::After(wakes.since, kPeriod)) {
    wakes.count = 0;
    wakes.since = now;
  }
  if (++wakes.count <= kMostUnused) return;
  wakes.count = 0;
  wakes.paused_until = net::After(now, kPeriod);
  paused_ = index;
}

int PollSet::Poll(net::Instant now, net::Instant alarm) {
  unmasked_.clear();
  for (size_t i = 0; i < polled_.size(); ++i) {
    if (IsPolled(i, now)) unmasked_.push_back({polled_[i].fd, POLLIN, 0});
  }
  const timespec timeout = absl::ToTimespec(net::TimeUntil(alarm, now));
  const int ready = ppoll(unmasked_.data(), unmasked_.size(),
                          alarm == net::Never() ? nullptr : &timeout, nullptr);
  if (ready >= 0) return 0;
  // A signal handler of the embedder may interrupt the wait: then nothing is
  // ready. If the kernel cannot look (there is no memory, or the limit of
  // descriptors is by now below the number that is polled), any source may be
  // ready: to try each of them never blocks.
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
  if (!ready_fd_) return;
  unmasked_.clear();
  for (size_t i = 0; i < polled_.size(); ++i) {
    unmasked_.push_back(
        {IsPolled(i, last_wait_) ? polled_[i].fd : -1, POLLIN, 0});
  }
  ready_fd_->Watch(unmasked_, NextAlarm(last_wait_));
}

}  // namespace brood::server
