// SPDX-License-Identifier: Apache-2.0

// Tests which lines are left out in a flood of clients.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/proc/exit_status.h"
#include "brood/server/connection_report.h"
#include "brood/server/log/event_log.h"
#include "brood/server/log/event_writer.h"
#include "brood/server/log/every_event.h"
#include "brood/server/log_level.h"
#include "brood/server/totals.h"
#include "brood/testing/leak_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A log with a rate of 2 lines a second, and so room for 10 lines at once. A
// test takes less than half a second, or does not depend on the time.
class LeftOutTest : public ::brood::testing::LeakCheck {
 protected:
  static LogSettings Settings() {
    LogSettings settings;
    settings.rate = 2;
    return settings;
  }
  // Returns how many of `lines` contain `text`.
  static int Count(const std::vector<std::string>& lines, const char* text) {
    return static_cast<int>(std::count_if(
        lines.begin(), lines.end(), [text](const std::string& line) {
          return absl::StrContains(line, text);
        }));
  }
  static void Fork(EventLog& log, int count) {
    for (int i = 0; i < count; ++i) log.Forked(4711, LogPeer(), 3, 1000);
  }
  // Lets a child log its peer.
  static void HandleInChild(EventLog& log) {
    const pid_t child = fork();
    if (child == 0) {
      log.Handling(LogPeer());
      _exit(0);
    }
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
  }
};

// Each connection has a line of the parent and a line of its child.
TEST_F(LeftOutTest, LeavesOutLinesOfConnectionsBeyondTheRateAndReportsIt) {
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(Settings());
  Fork(log, 100);
  const std::vector<std::string> lines = captured.Writes();
  EXPECT_GE(Count(lines, "forked pid"), 5);
  EXPECT_LE(Count(lines, "forked pid"), 7);
  EXPECT_GE(Count(lines, "were left out"), 1);
  log.Stopped(Totals());
  EXPECT_THAT(captured.Writes(), ElementsAre(HasSubstr("were left out"),
                                             HasSubstr("stopped: accepted 0")));
  EXPECT_GE(log.dropped(), 2 * 93u);
}

TEST_F(LeftOutTest, LeavesOutTheLinesOfChildrenTogetherWithThoseOfTheParent) {
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(Settings());
  Fork(log, 1);
  HandleInChild(log);
  EXPECT_EQ(Count(captured.Writes(), "serving"), 1);
  Fork(log, 100);
  HandleInChild(log);
  EXPECT_EQ(Count(captured.Writes(), "serving"), 0);
}

TEST_F(LeftOutTest, WritesEverythingElseInAnyCase) {
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(Settings());
  Fork(log, 100);
  captured.Writes();
  for (int i = 0; i < 20; ++i) {
    log.Killing(1);
    log.Draining(2, absl::Seconds(8));
    log.Listening(LogListener());
    log.HandlerThrew(LogPeer(), "no such table");
  }
  const std::vector<std::string> lines = captured.Writes();
  for (const char* text : {"killing 1", "draining", "listening", "threw"}) {
    EXPECT_EQ(Count(lines, text), 20) << text;
  }
}

// Each is a line about a connection, and one that matters.
TEST_F(LeftOutTest, WritesTheEndsOfProcessesThatCrashedInAnyCase) {
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(Settings());
  Fork(log, 100);
  captured.Writes();
  ConnectionReport report;
  report.peer = LogPeer();
  report.status = proc::ExitStatus::FromWait(SIGSEGV, rusage());
  for (int i = 0; i < 20; ++i) log.Ended(report, 3, 1000);
  EXPECT_EQ(Count(captured.Writes(), "SIGSEGV"), 20);
}

TEST_F(LeftOutTest, PassesEveryEventToASink) {
  int events = 0;
  LogSettings settings = Settings();
  settings.sink = [&events](const LogRecord&) { ++events; };
  EventLog log(std::move(settings));
  Fork(log, 100);
  EXPECT_EQ(events, 100);
  EXPECT_EQ(log.dropped(), 0u);
}

TEST_F(LeftOutTest, LeavesOutNothingWithoutALimit) {
  const StderrCapture captured = StderrCapture::ToPackets();
  LogSettings settings;
  settings.rate = 0;
  EventLog log(std::move(settings));
  Fork(log, 100);
  EXPECT_EQ(Count(captured.Writes(), "forked pid"), 100);
}

TEST_F(LeftOutTest, SurvivesWithoutAReader) {
  EventLog* log;
  absl::optional<EventLog> kept;
  {
    const StderrCapture captured = StderrCapture::ToPipe();
    log = &kept.emplace(LogLevel::kInfo);
  }
  log->Killing(1);  // to its own descriptor of a pipe without a reader
  EXPECT_EQ(log->dropped(), 1u);
}

}  // namespace
}  // namespace brood::server
