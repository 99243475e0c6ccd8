#include "brood/server/strategy/worker_reports.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstring>

#include "absl/status/status.h"
#include "brood/net/handoff_queue.h"

namespace brood::server {
namespace {

// How many that are none are dropped before others have their turn.
constexpr int kMostDropped = 64;

}  // namespace

absl::StatusOr<WorkerReports> WorkerReports::Create() {
  absl::StatusOr<net::SeqpacketPair> pair = net::SeqpacketPair::Create();
  if (!pair.ok()) return pair.status();
  const int on = 1;
  if (setsockopt(pair->second.fd(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) <
      0) {
    return absl::ErrnoToStatus(errno, "setsockopt SO_PASSCRED");
  }
  return WorkerReports(std::move(pair->first), std::move(pair->second));
}

WorkerReports::WorkerReports(net::Socket sending, net::Socket receiving)
    : sending_(std::move(sending)), receiving_(std::move(receiving)) {}

void ReportSender::Send(const WorkerReport& report) const {
  TEMP_FAILURE_RETRY(send(fd_, &report, sizeof(report), MSG_NOSIGNAL));
}

absl::optional<WorkerReports::Received> WorkerReports::TryReceive(
    net::Instant now) const {
  // Bounded: a worker may send what is none for as long as it likes.
  for (int tries = 0; tries < kMostDropped; ++tries) {
    Received received = {};
    iovec bytes = {&received.report, sizeof(received.report)};
    // No room for anything but the sender: descriptors that a worker might add
    // are dropped by the kernel.
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
    msghdr message = {};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    const ssize_t size = TEMP_FAILURE_RETRY(
        recvmsg(receiving_.fd(), &message,
                MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC));
    // Nothing there. Zero is not the end, for we hold the other end ourselves,
    // but one more that is not as Send() makes it.
    if (size < 0) return absl::nullopt;
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (size != sizeof(received.report) || header == nullptr ||
        header->cmsg_level != SOL_SOCKET ||
        header->cmsg_type != SCM_CREDENTIALS) {
      continue;
    }
    ucred sender;
    std::memcpy(&sender, CMSG_DATA(header), sizeof(sender));
    received.sender = sender.pid;
    // Others count with it, and no difference is to overflow.
    received.done_at =
        std::min(now, net::Instant(std::chrono::nanoseconds(
                          std::max(int64_t{0}, received.report.done_at))));
    return received;
  }
  errno = EAGAIN;
  return absl::nullopt;
}

}  // namespace brood::server
