// SPDX-License-Identifier: Apache-2.0

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "brood/server/log/event_log.h"
#include "brood/server/log/every_event.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::LoggedEvent;
using ::testing::AllOf;
using ::testing::ContainerEq;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Le;
using ::testing::MatchesRegex;

class EventLogJsonTest : public ::brood::testing::LeakCheck {
 protected:
  // Logs every event in JSON, and returns the lines.
  static std::vector<LoggedEvent> EveryEvent() {
    std::vector<std::string> writes;
    {
      const StderrCapture captured = StderrCapture::ToPackets();
      EventLog log(LogLevel::kInfo, LogFormat::kJson);
      LogEveryEvent(log);
      writes = captured.Writes();
    }
    std::vector<LoggedEvent> events;
    for (absl::string_view line : writes) {
      EXPECT_TRUE(absl::ConsumeSuffix(&line, "\n"));
      const absl::StatusOr<LoggedEvent> event = LoggedEvent::Parse(line);
      EXPECT_THAT(event, IsOk());
      if (event.ok()) events.push_back(*event);
    }
    return events;
  }

  // Returns the events called "ended".
  static std::vector<LoggedEvent> Ended() {
    std::vector<LoggedEvent> ended;
    for (const LoggedEvent& event : EveryEvent()) {
      if (event.name() == "ended") ended.push_back(event);
    }
    return ended;
  }

  // Returns the first event called `name`.
  static LoggedEvent Find(absl::string_view name) {
    for (const LoggedEvent& event : EveryEvent()) {
      if (event.name() == name) return event;
    }
    ADD_FAILURE() << "no event is called " << name;
    return LoggedEvent();
  }
};

TEST_F(EventLogJsonTest, NamesEachEvent) {
  std::vector<std::string> names;
  for (const LoggedEvent& event : EveryEvent()) {
    if (names.empty() || names.back() != event.name()) {
      names.emplace_back(event.name());
    }
  }
  EXPECT_THAT(names, Each(MatchesRegex("[a-z]+(-[a-z]+)*")));
  EXPECT_THAT(
      names,
      ElementsAre(
          "listening", "inherited-listener-unused", "inherited-listener-wider",
          "listener-unreachable", "listener-rebound", "option-not-applied",
          "listen-fds-ignored", "inherited", "spawn-fallback",
          "rehearsal-failed", "signal-queue-too-small", "descriptors-short",
          "notify-failed", "draining", "terminating", "killing",
          "signal-refused", "held-by-tracer", "left-behind", "left-in-queue",
          "stopped", "forked", "assigned", "handling", "prepare-failed",
          "handler-threw", "bad-exit-code", "ended", "status-taken", "expired",
          "upgrade-started", "upgrade-ignored", "upgrade-ready",
          "upgrade-completed", "upgrade-failed", "generation-ended",
          "main-process-ended", "waiting", "fork-delayed", "fork-failed",
          "accept-paused", "accept-failed", "listener-closed", "no-deadline",
          "peer-timeout-left-to-kernel", "connections-not-visible",
          "call-failed", "poll-paused", "worker-died-at-start",
          "worker-dismissed", "prefork-failed", "zygote-ready",
          "zygote-stalled", "zygote-replaced", "hardening-refused",
          "zygote-ended"));
}

// The keys are an interface: a new key is added to the list, and none changes
// its type.
TEST_F(EventLogJsonTest, HasTheKeysOfTheListWithOneTypeEach) {
  std::set<std::string> seen;
  for (const LoggedEvent& event : EveryEvent()) {
    for (const auto& [key, value] : event.fields()) {
      const bool number = std::holds_alternative<int64_t>(value);
      seen.insert(absl::StrCat(key, number ? " integer" : " string"));
    }
  }
  std::set<std::string> listed;
  std::ifstream file("server/log/json_keys.txt");
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') listed.insert(line);
  }
  EXPECT_THAT(seen, ContainerEq(listed));
}

TEST_F(EventLogJsonTest, HasTheMessageOfTheTextLine) {
  const std::vector<LoggedEvent> events = EveryEvent();
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(LogLevel::kInfo);
  LogEveryEvent(log);
  const std::vector<std::string> lines = captured.Writes();
  ASSERT_EQ(lines.size(), events.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i], absl::StrCat("brood[", getpid(), "] ",
                                     events[i].Text("log.level"), ": ",
                                     events[i].Text("message"), "\n"));
    EXPECT_FALSE(absl::StrContains(lines[i], "{"));
  }
}

TEST_F(EventLogJsonTest, DescribesTheEndOfAConnection) {
  const std::vector<LoggedEvent> all = Ended();
  ASSERT_GE(all.size(), 2u);
  const LoggedEvent& ended = all[1];
  EXPECT_EQ(ended.Number("brood.child.pid"), 4711);
  EXPECT_EQ(ended.Text("client.address"), "192.0.2.7");
  EXPECT_EQ(ended.Number("client.port"), 50112);
  EXPECT_EQ(ended.Text("network.transport"), "tcp");
  EXPECT_EQ(ended.Text("server.address"), "::1");
  EXPECT_EQ(ended.Number("server.port"), 7000);
  EXPECT_FALSE(ended.Has("brood.listener"));
  EXPECT_EQ(ended.Number("event.duration"), 1500000000);
  EXPECT_EQ(ended.Number("brood.accept_to_child"), 250000);
  for (const char* key :
       {"brood.kill.reason", "brood.handler_time", "brood.linger_time",
        "brood.annotation", "exception.message"}) {
    EXPECT_FALSE(ended.Has(key)) << key;
  }
  EXPECT_EQ(ended.Text("event.outcome"), "success");
  EXPECT_EQ(ended.Text("brood.outcome"), "ok");
  EXPECT_EQ(ended.Number("brood.exit.code"), 0);
  EXPECT_EQ(ended.Number("brood.cpu.user"), 1500000);
  EXPECT_EQ(ended.Number("brood.cpu.system"), 1000000000);
  EXPECT_EQ(ended.Number("brood.running"), 2);
  EXPECT_EQ(ended.Number("brood.cap"), 1000);
}

TEST_F(EventLogJsonTest, HasTheReportOfTheHandler) {
  const LoggedEvent ended = Find("ended");
  EXPECT_EQ(ended.Number("brood.handler_time"), 1200000000);
  EXPECT_EQ(ended.Number("brood.linger_time"), 200000000);
  EXPECT_EQ(ended.Text("exception.message"), "no such table");
  EXPECT_EQ(ended.Text("brood.annotation"), "GET /\n");
}

TEST_F(EventLogJsonTest, HasEveryFieldOfAHandlerThatReportsTheLongestTexts) {
  const StderrCapture captured = StderrCapture::ToPackets();
  ConnectionReport report;
  report.handler_time = report.linger_time = absl::Seconds(1);
  report.exception = report.annotation = std::string(256, '\x01');
  report.kill_reason = KillReason::kIdle;
  EventLog(LogLevel::kInfo, LogFormat::kJson).Ended(report, 1, 1000);
  std::string line = captured.Writes().at(0);
  line.pop_back();
  const auto ended = LoggedEvent::Parse(line);
  ASSERT_THAT(ended, IsOk());
  for (const char* key : {"brood.linger_time", "brood.annotation",
                          "exception.message", "brood.cpu.system"}) {
    EXPECT_TRUE(ended->Has(key)) << key;
  }
}

TEST_F(EventLogJsonTest, NamesTheReasonForWhichAProcessWasKilled) {
  std::vector<std::string> reasons;
  for (const LoggedEvent& event : Ended()) {
    if (event.Has("brood.kill.reason")) {
      reasons.push_back(event.Text("brood.kill.reason"));
    }
  }
  EXPECT_THAT(reasons, ElementsAre("stop", "idle"));
}

TEST_F(EventLogJsonTest, StampsEachLineWithTheTimeOfDay) {
  const absl::Time before = absl::Now() - absl::Microseconds(1);
  const LoggedEvent event = Find("listening");
  absl::Time time;
  std::string error;
  ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full, event.Text("@timestamp"),
                              &time, &error))
      << error;
  EXPECT_THAT(time, AllOf(Ge(before), Le(absl::Now())));
}

TEST_F(EventLogJsonTest, CountsDroppedLinesInALineOfTheirOwn) {
  const StderrCapture captured = StderrCapture::ToPipe();
  EventLog log(LogLevel::kInfo, LogFormat::kJson);
  while (log.dropped() < 3) log.Killing(1);
  captured.Lines();
  log.Killing(2);
  const std::vector<std::string> lines = captured.Lines();
  ASSERT_EQ(lines.size(), 2u);
  const auto dropped = LoggedEvent::Parse(lines[0]);
  ASSERT_THAT(dropped, IsOk());
  EXPECT_EQ(dropped->name(), "lines-dropped");
  EXPECT_EQ(dropped->Text("log.level"), "warning");
  EXPECT_EQ(dropped->Number("brood.lines_dropped"), 3);
}

TEST_F(EventLogJsonTest, HasThePidOfTheProcessThatWrites) {
  const StderrCapture captured = StderrCapture::ToPipe();
  EventLog log(LogLevel::kInfo, LogFormat::kJson);
  const pid_t child = fork();
  if (child == 0) {
    log.Handling(LogPeer());
    _exit(0);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  const std::vector<std::string> lines = captured.Lines();
  ASSERT_EQ(lines.size(), 1u);
  const auto event = LoggedEvent::Parse(lines[0]);
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->Number("process.pid"), child);
}

}  // namespace
}  // namespace brood::server
