// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/worker_reports.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.

#include "absl/time/time.h"

namespace brood::server {
namespace {

// The largest number of processors that a process can use at once.
constexpr int kMostProcessors = 8192;
// The largest value of a counter of one connection. Sums of millions of either
// do not overflow.
constexpr long kMostCounted = 1L << 40;  // NOLINT(runtime/int): as in rusage.

timeval Bounded(const timeval& used, absl::Duration most) {
  const bool is_time =
      used.tv_sec >= 0 && 0 <= used.tv_usec && used.tv_usec < 1'000'000;
  const absl::Duration time =
      is_time ? absl::DurationFromTimeval(used) : absl::ZeroDuration();
  return absl::ToTimeval(std::min(time, most));
}

rusage Bounded(rusage usage, absl::Duration elapsed) {
  // The kernel may count by ticks.
  const absl::Duration most =
      std::min(elapsed + absl::Seconds(1), absl::Hours(24 * 365)) *
      kMostProcessors;
  usage.ru_utime = Bounded(usage.ru_utime, most);
  usage.ru_stime = Bounded(usage.ru_stime, most);
  for (auto* count :
       {&usage.ru_maxrss, &usage.ru_ixrss, &usage.ru_idrss, &usage.ru_isrss,
        &usage.ru_minflt, &usage.ru_majflt, &usage.ru_nswap, &usage.ru_inblock,
        &usage.ru_oublock, &usage.ru_msgsnd, &usage.ru_msgrcv,
        &usage.ru_nsignals, &usage.ru_nvcsw, &usage.ru_nivcsw}) {
    *count = std::clamp(*count, 0L, kMostCounted);
  }
  return usage;
}

}  // namespace

ReportSender::ReportSender(int channel) : fd_(channel) {
  struct stat status;
  if (fstat(fd_, &status) < 0) return;
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

bool ReportSender::IsIntact() const {
  struct stat status;
  return fstat(fd_, &status) == 0 && status.st_dev == device_ &&
         status.st_ino == inode_;
}

bool ReportSender::Send(const WorkerReport& report) const {
  while (TEMP_FAILURE_RETRY(send(fd_, &report, sizeof(report), MSG_NOSIGNAL)) <
         0) {
    // A handler has made the channel non-blocking, and filled it. This process
    // may wait, because no other process waits for it meanwhile.
    if (errno != EAGAIN) return false;
    pollfd room = {fd_, POLLOUT, 0};
    if (TEMP_FAILURE_RETRY(poll(&room, 1, -1)) < 0 ||
        (room.revents & POLLOUT) == 0) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<WorkerReports> WorkerReports::Create() {
  net::UniqueFd epoll = net::UniqueFd::Adopt(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return absl::ErrnoToStatus(errno, "epoll_create1");
  return WorkerReports(std::move(epoll));
}

absl::Status WorkerReports::Watch(int channel, uint32_t index) const {
  epoll_event event = {};
  // EPOLLHUP, for a shutdown of the other end, is reported in any case.
  event.events = EPOLLIN;
  event.data.u32 = index;
  if (epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, channel, &event) < 0) {
    return absl::ErrnoToStatus(errno, "epoll_ctl");
  }
  return absl::OkStatus();
}

void WorkerReports::Unwatch(int channel) const {
  epoll_ctl(epoll_.fd(), EPOLL_CTL_DEL, channel, nullptr);
}

int WorkerReports::Find(Ready* ready) const {
  std::array<epoll_event, kBatch> events;
  const int count = TEMP_FAILURE_RETRY(
      epoll_wait(epoll_.fd(), events.data(), events.size(), 0));
  for (int i = 0; i < count; ++i) (*ready)[i] = events[i].data.u32;
  return count;
}

absl::StatusOr<absl::optional<WorkerReports::Received>> WorkerReports::Receive(
    int channel, net::Instant since, net::Instant now) {
  Report report;
  // Without room for control data, the kernel closes descriptors that come with
  // the message.
  const ssize_t size = TEMP_FAILURE_RETRY(
      recv(channel, &report, sizeof(report), MSG_DONTWAIT | MSG_TRUNC));
  if (size < 0) {
    if (errno == EAGAIN) return absl::optional<Received>();
    return absl::ErrnoToStatus(errno, "recv");
  }
  // The parent has a copy of the other end, so the channel ends only if the
  // worker shuts it down.
  if (size == 0) return absl::OutOfRangeError("it closed its channel");
  if (size != sizeof(report) || report.mark != Report::kMark ||
      report.leaves > 1) {
    return absl::InvalidArgumentError("it sent what is not a report");
  }
  Received received = {report, now};
  received.report.usage =
      Bounded(report.usage, absl::FromChrono(now - std::min(since, now)));
  received.done_at = std::max(
      std::min(now, since),
      std::min(now, net::Instant(std::chrono::nanoseconds(report.done_at))));
  return absl::optional<Received>(received);
}

}  // namespace brood::server
