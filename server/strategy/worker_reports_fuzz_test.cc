// What holds for WorkerReports whatever a worker sends, which its client may
// have taken over: it is dropped, or it is a report of that worker's, of a time
// that has passed; no descriptor that came along stays open, and what comes
// after it is heard.
//
// An input is what is sent; it is sent alone and with two descriptors.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/testing/fuzz/require.h"

namespace {

using brood::server::WorkerReports;
using brood::testing::Require;
using Report = WorkerReports::Report;

void Send(int fd, const uint8_t* bytes, size_t size, bool with_descriptors) {
  iovec part = {const_cast<uint8_t*>(bytes), size};
  const int sent[] = {STDERR_FILENO, STDERR_FILENO};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(sent))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (with_descriptors) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(sent));
    std::memcpy(CMSG_DATA(header), sent, sizeof(sent));
  }
  // What does not fit into the socket is not sent at all.
  sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int LowestFreeFd() {
  const int fd = dup(STDERR_FILENO);
  close(fd);
  return fd;
}

void RequireHeard(const WorkerReports::Received& received,
                  const uint8_t* bytes) {
  Require(std::memcmp(&received.report, bytes, sizeof(Report)) == 0,
          "a report is what was sent");
  Require(received.sender == getpid(), "the kernel says who it was");
  // What Pool makes of it.
  Require(brood::net::Instant() <= received.done_at &&
              received.done_at <= brood::net::Now(),
          "nothing was done at a time that has not passed");
  const auto status = brood::proc::ExitStatus::Exited(received.report.exit_code,
                                                      received.report.usage);
  Require(status.exited() && !status.killed() && 0 <= status.code() &&
              status.code() <= 255,
          "an exit code is one, whatever the number");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
  Require(reports.ok(), "there is a socket");
  const int lowest = LowestFreeFd();
  for (const bool with_descriptors : {false, true}) {
    Send(reports->fd_to_send(), bytes, size, with_descriptors);
    Report next = {};
    next.serial = 4711;
    reports->Send(next);
    absl::optional<WorkerReports::Received> received = reports->TryReceive();
    if (size == sizeof(Report)) {
      Require(received.has_value(), "what has the size of a report is heard");
      RequireHeard(*received, bytes);
      received = reports->TryReceive();
    }
    Require(received && received->report.serial == 4711,
            "what has another size is dropped, and the next is heard");
    Require(!reports->TryReceive(), "nothing is heard twice");
    Require(LowestFreeFd() == lowest, "nothing that came along stays open");
  }
  return 0;
}
