// What holds for WorkerReports whatever a worker sends, which its client may
// have taken over: it is dropped, or it is a report of that worker's, of a time
// that has passed; no descriptor that came along stays open, and what comes
// after it is heard.
//
// An input is what is sent; it is sent alone and with two descriptors.

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/testing/fuzz/require.h"
#include "brood/testing/support/ancillary_message.h"

namespace {

using brood::server::WorkerReports;
using brood::testing::AncillaryMessage;
using brood::testing::LowestFreeFd;
using brood::testing::Require;
using Report = WorkerReports::Report;

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
    AncillaryMessage message{
        absl::string_view(reinterpret_cast<const char*>(bytes), size)};
    if (with_descriptors) message.descriptors = {STDERR_FILENO, STDERR_FILENO};
    // What does not fit into the socket is not sent at all.
    Send(message, reports->sender().fd());
    Report next = {};
    next.serial = 4711;
    reports->sender().Send(next);
    absl::optional<WorkerReports::Received> received =
        reports->TryReceive(brood::net::Now());
    if (size == sizeof(Report)) {
      Require(received.has_value(), "what has the size of a report is heard");
      RequireHeard(*received, bytes);
      received = reports->TryReceive(brood::net::Now());
    }
    Require(received && received->report.serial == 4711,
            "what has another size is dropped, and the next is heard");
    Require(!reports->TryReceive(brood::net::Now()), "nothing is heard twice");
    Require(LowestFreeFd() == lowest, "nothing that came along stays open");
  }
  return 0;
}
