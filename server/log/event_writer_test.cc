// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/event_writer.h"

#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "brood/server/log/event.h"
#include "brood/server/log/event_log.h"
#include "brood/server/log/every_event.h"
#include "brood/server/log_level.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::LoggedEvent;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

// Kept is a copy of an event, for a test.
struct Kept {
  LogLevel level;
  absl::Time time;
  std::string name, message;
  LoggedEvent::Fields fields;
};

class EventWriterTest : public ::brood::testing::LeakCheck {
 protected:
  // Returns the settings of a log whose events the test keeps.
  LogSettings Keeping(LogLevel level) {
    LogSettings settings;
    settings.level = level;
    settings.sink = [this](const LogRecord& record) {
      Kept kept = {record.level,
                   record.time,
                   std::string(record.name),
                   std::string(record.message),
                   {}};
      for (const LogField& field : record.fields) {
        const auto* number = std::get_if<int64_t>(&field.value);
        kept.fields[std::string(field.key)] =
            number != nullptr
                ? LoggedEvent::Value(*number)
                : std::string(std::get<absl::string_view>(field.value));
      }
      kept_.push_back(std::move(kept));
    };
    return settings;
  }

  std::vector<Kept> kept_;
};

TEST_F(EventWriterTest, PassesEventsToTheSinkInsteadOfWritingThem) {
  const StderrCapture captured = StderrCapture::ToPackets();
  const absl::Time before = absl::Now() - absl::Milliseconds(1);
  EventLog log(Keeping(LogLevel::kInfo));
  log.Forked(4711, LogPeer(), 3, 1000);
  log.Listening(LogListener());
  log.Draining(2, absl::Milliseconds(10500));
  EXPECT_THAT(captured.Writes(), IsEmpty());
  ASSERT_THAT(kept_, SizeIs(3));
  EXPECT_EQ(kept_[0].level, LogLevel::kInfo);
  EXPECT_EQ(kept_[0].name, "forked");
  EXPECT_EQ(kept_[0].message,
            "forked pid 4711 to handle 192.0.2.7:50112 (3 of 1000)");
  EXPECT_GE(kept_[0].time, before);
  EXPECT_LE(kept_[0].time, absl::Now());
  EXPECT_EQ(kept_[0].fields, (LoggedEvent::Fields{
                                 {"brood.child.pid", 4711},
                                 {"client.address", "192.0.2.7"},
                                 {"client.port", 50112},
                                 {"network.transport", "tcp"},
                                 {"brood.running", 3},
                                 {"brood.cap", 1000},
                             }));
  EXPECT_EQ(kept_[1].fields, (LoggedEvent::Fields{
                                 {"server.address", "::1"},
                                 {"server.port", 7000},
                                 {"network.transport", "tcp"},
                                 {"brood.listener", "[::1]:7000"},
                             }));
  EXPECT_EQ(kept_[2].fields, (LoggedEvent::Fields{
                                 {"brood.running", 2},
                                 {"brood.grace", 10500000000},
                             }));
}

// A sink has the keys and values that a line of JSON has.
TEST_F(EventWriterTest, PassesTheFieldsOfAJsonLineToTheSink) {
  const StderrCapture captured = StderrCapture::ToPackets();
  {
    EventLog log(LogLevel::kInfo, LogFormat::kJson);
    LogEveryEvent(log);
  }
  std::vector<LoggedEvent> lines;
  for (std::string line : captured.Writes()) {
    line.pop_back();
    const auto event = LoggedEvent::Parse(line);
    ASSERT_TRUE(event.ok()) << line;
    // Children write their lines themselves.
    if (event->name() == "handling" || event->name() == "prepare-failed" ||
        event->name() == "handler-threw" || event->name() == "bad-exit-code") {
      continue;
    }
    lines.push_back(*event);
  }
  EventLog log(Keeping(LogLevel::kInfo));
  LogEveryEvent(log);
  ASSERT_EQ(kept_.size(), lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(kept_[i].name, lines[i].name());
    EXPECT_EQ(kept_[i].message, lines[i].Text("message"));
    EXPECT_TRUE(lines[i].HasAll(kept_[i].fields)) << lines[i];
    constexpr size_t kOfTheLine = 7;  // @timestamp, log.level ... process.pid
    EXPECT_EQ(kept_[i].fields.size() + kOfTheLine, lines[i].fields().size());
  }
}

TEST_F(EventWriterTest, PassesOnlyEventsOfTheLevelToTheSink) {
  EventLog log(Keeping(LogLevel::kWarning));
  log.Forked(4711, LogPeer(), 3, 1000);
  log.Killing(2);
  ASSERT_THAT(kept_, SizeIs(1));
  EXPECT_EQ(kept_[0].name, "killing");
  EXPECT_EQ(kept_[0].level, LogLevel::kWarning);
}

TEST_F(EventWriterTest, WritesTheLinesOfAChildDespiteASink) {
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(Keeping(LogLevel::kInfo));
  const pid_t child = fork();
  if (child == 0) {
    log.Handling(LogPeer());
    _exit(static_cast<int>(kept_.size()));
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(captured.Writes(), ElementsAre(HasSubstr("serving 192.0.2.7")));
}

// F17: the embedder has put another file in the place of descriptor 2.
TEST_F(EventWriterTest, WritesNoLineOfAChildToAFileThatIsNotTheLog) {
  const StderrCapture captured = StderrCapture::ToPackets();
  EventLog log(LogLevel::kInfo);
  const StderrCapture another = StderrCapture::ToPackets();
  const pid_t child = fork();
  if (child == 0) {
    log.Handling(LogPeer());
    _exit(0);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_THAT(another.Writes(), IsEmpty());
  EXPECT_THAT(captured.Writes(), IsEmpty());
}

TEST_F(EventWriterTest, EndsTheProgramIfTheSinkThrows) {
  LogSettings settings;
  settings.sink = [](const LogRecord&) { throw std::runtime_error("full"); };
  EventLog log(std::move(settings));
  EXPECT_DEATH(log.Killing(2),
               "^brood: Options::log.sink threw an exception: full\n");
}

TEST_F(EventWriterTest, HasTheNameOfTheServerInEachLine) {
  const StderrCapture captured = StderrCapture::ToPackets();
  LogSettings settings;
  settings.name = "my \"server\"";
  EventLog(settings).Killing(2);
  EXPECT_THAT(captured.Writes(),
              ElementsAre(StartsWith(
                  absl::StrCat("my \"server\"[", getpid(), "] warning: "))));
  settings.format = LogFormat::kJson;
  EventLog(settings).Killing(2);
  std::string line = captured.Writes().at(0);
  line.pop_back();
  EXPECT_EQ(LoggedEvent::Parse(line)->Text("service.name"), "my \"server\"");
}

}  // namespace
}  // namespace brood::server
