// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/exit_fields.h"

#include <sys/wait.h>

#include <csignal>
#include <map>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/proc/exit_status.h"
#include "brood/server/handler.h"
#include "brood/server/log/event.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

proc::ExitStatus Exited(ExitCode code) {
  return proc::ExitStatus::Exited(static_cast<int>(code), rusage());
}
proc::ExitStatus KilledBy(int signal) {
  return proc::ExitStatus::FromWait(W_EXITCODE(0, signal), rusage());
}

// Returns the texts and integers of `event` as text, by their keys.
std::map<std::string, std::string> Fields(const Event& event) {
  std::map<std::string, std::string> fields;
  for (const Event::Field& field : event.fields()) {
    std::string& text = fields[std::string(field.key)];
    if (const auto* number = std::get_if<int64_t>(&field.value)) {
      text = absl::StrCat(*number);
    } else if (const auto* view =
                   std::get_if<absl::string_view>(&field.value)) {
      text = std::string(*view);
    } else {
      text = absl::FormatDuration(std::get<absl::Duration>(field.value));
    }
  }
  return fields;
}

std::map<std::string, std::string> Outcome(const proc::ExitStatus& status,
                                           bool signalled_by_us) {
  Event event(LogLevel::kInfo, "ended", "");
  AddOutcome(status, signalled_by_us, event);
  std::map<std::string, std::string> fields = Fields(event);
  EXPECT_EQ(fields.erase("brood.cpu.user"), 1u);
  EXPECT_EQ(fields.erase("brood.cpu.system"), 1u);
  return fields;
}

TEST(ExitTextTest, DescribesHowAProcessEnded) {
  EXPECT_EQ(ExitText(Exited(ExitCode::kServed)).text(), "exited with code 0");
  EXPECT_EQ(ExitText(KilledBy(SIGKILL)).text(), "killed by SIGKILL (Killed)");
}

TEST(ExitTextTest, DescribesTheMeaningOfAnExitCodeOfAHandler) {
  EXPECT_EQ(ExitText::OfHandler(Exited(ExitCode::kServed)).text(),
            "exited with code 0 (served)");
  EXPECT_EQ(ExitText::OfHandler(Exited(static_cast<ExitCode>(42))).text(),
            "exited with code 42");
  EXPECT_EQ(ExitText::OfHandler(KilledBy(SIGKILL)).text(),
            "killed by SIGKILL (Killed)");
}

TEST(ExitFieldsTest, AddsTheExitCodeOrTheSignal) {
  Event event(LogLevel::kInfo, "name", "");
  AddExit(proc::ExitStatus::Unknown(), event);
  EXPECT_THAT(event.fields(), ElementsAre());
  AddExit(Exited(ExitCode::kUsage), event);
  AddExit(KilledBy(SIGSEGV), event);
  EXPECT_THAT(Fields(event), ElementsAre(Pair("brood.exit.code", "100"),
                                         Pair("brood.exit.signal", "11")));
}

TEST(ExitFieldsTest, AddsTheOutcomeOfAConnection) {
  EXPECT_THAT(
      Outcome(Exited(ExitCode::kServed), false),
      ElementsAre(Pair("brood.exit.code", "0"), Pair("brood.outcome", "ok"),
                  Pair("event.outcome", "success")));
  EXPECT_THAT(
      Outcome(Exited(ExitCode::kPeerLost), true),
      ElementsAre(Pair("brood.exit.code", "2"), Pair("brood.outcome", "error"),
                  Pair("event.outcome", "failure")));
  EXPECT_THAT(Outcome(KilledBy(SIGABRT), false),
              ElementsAre(Pair("brood.exit.signal", "6"),
                          Pair("brood.outcome", "crashed"),
                          Pair("event.outcome", "failure")));
  EXPECT_THAT(Outcome(KilledBy(SIGTERM), true),
              ElementsAre(Pair("brood.exit.signal", "15"),
                          Pair("brood.outcome", "killed"),
                          Pair("event.outcome", "failure")));
  EXPECT_THAT(Outcome(proc::ExitStatus::Unknown(), true),
              ElementsAre(Pair("brood.outcome", "unknown"),
                          Pair("event.outcome", "unknown")));
}

TEST(ExitFieldsTest, AddsTheProcessorTimeOfAConnection) {
  rusage usage = {};
  usage.ru_utime.tv_usec = 1500;
  usage.ru_stime.tv_sec = 2;
  Event event(LogLevel::kInfo, "ended", "");
  AddOutcome(proc::ExitStatus::Exited(0, usage), false, event);
  EXPECT_EQ(Fields(event)["brood.cpu.user"], "1.5ms");
  EXPECT_EQ(Fields(event)["brood.cpu.system"], "2s");
}

}  // namespace
}  // namespace brood::server
