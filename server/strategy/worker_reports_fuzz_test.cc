// SPDX-License-Identifier: Apache-2.0

// Tests WorkerReports with any bytes, which a worker may send that its client
// has compromised: they are an error, or a report whose fields are within their
// limits; no descriptor that came with them stays open; and they are at most
// one report.
//
// An input is the message; it is sent alone and with two descriptors.

#include <unistd.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/testing/fuzz/require.h"
#include "brood/testing/support/ancillary_message.h"

namespace {

using brood::net::HandoffQueue;
using brood::server::WorkerReports;
using brood::testing::AncillaryMessage;
using brood::testing::LowestFreeFd;
using brood::testing::Require;

const brood::net::Instant kNow{std::chrono::hours(1000)};
const brood::net::Instant kSince = kNow - std::chrono::seconds(2);

// Requires that the fields of a report are within their limits.
void RequireBounded(const WorkerReports::Received& received) {
  Require(kSince <= received.done_at && received.done_at <= kNow,
          "nothing was done before it began, or in the future");
  const rusage& usage = received.report.usage;
  for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
    Require(0 <= time.tv_sec && time.tv_sec <= 3 * 8192 && 0 <= time.tv_usec &&
                time.tv_usec < 1000000,
            "a processor's time is bounded by that which has passed");
  }
  for (const long count :  // NOLINT(runtime/int): as in rusage.
       {usage.ru_maxrss, usage.ru_minflt, usage.ru_majflt, usage.ru_nivcsw}) {
    Require(0 <= count && count <= 1L << 40, "a counter is bounded");
  }
  const auto status = brood::proc::ExitStatus::Exited(received.report.exit_code,
                                                      received.report.usage);
  Require(status.exited() && !status.killed() && 0 <= status.code() &&
              status.code() <= 255,
          "an exit code is one, whatever the number");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const absl::StatusOr<HandoffQueue> channel = HandoffQueue::Create();
  Require(channel.ok(), "there is a channel");
  const int lowest = LowestFreeFd();
  for (const bool with_descriptors : {false, true}) {
    AncillaryMessage message{
        absl::string_view(reinterpret_cast<const char*>(bytes), size)};
    if (with_descriptors) message.descriptors = {STDERR_FILENO, STDERR_FILENO};
    // A message that does not fit into the socket is not sent.
    const bool sent = Send(message, channel->fd_to_await()) >= 0;
    const auto received =
        WorkerReports::Receive(channel->fd_to_offer(), kSince, kNow);
    if (sent) {
      Require(!received.ok() || received->has_value(),
              "what was sent is a report, or an error");
    }
    if (received.ok() && received->has_value()) {
      Require(size == sizeof(WorkerReports::Report), "a report has its size");
      RequireBounded(**received);
    }
    const auto next =
        WorkerReports::Receive(channel->fd_to_offer(), kSince, kNow);
    Require(next.ok() && !next->has_value(), "nothing is received twice");
    Require(LowestFreeFd() == lowest, "nothing that came along stays open");
  }
  return 0;
}
