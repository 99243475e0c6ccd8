// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log_level.h"

#include <string>

#include "absl/status/status.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;

TEST(LogLevelTest, ParsesTheNameOfEachLevel) {
  for (const LogLevel level : {LogLevel::kInfo, LogLevel::kWarning,
                               LogLevel::kError, LogLevel::kOff}) {
    EXPECT_THAT(ParseLogLevel(NameOf(level)), IsOkAndHolds(level));
  }
}

TEST(LogLevelTest, IsReadByItsExactName) {
  EXPECT_THAT(ParseLogLevel("info"), IsOkAndHolds(LogLevel::kInfo));
  EXPECT_THAT(ParseLogLevel("warning"), IsOkAndHolds(LogLevel::kWarning));
  EXPECT_THAT(ParseLogLevel("error"), IsOkAndHolds(LogLevel::kError));
  EXPECT_THAT(ParseLogLevel("off"), IsOkAndHolds(LogLevel::kOff));
}

TEST(LogLevelTest, IsNotGuessedFromAnotherName) {
  for (const std::string text : {"", "Info", "warn", "info ", "0", "debug"}) {
    EXPECT_THAT(ParseLogLevel(text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         "log_level=" + text +
                             ": must be info, warning, error or off"));
  }
}

// The set of written events grows from kOff to kInfo: event_log compares
// levels.
TEST(LogLevelTest, GrowsWithTheImportanceOfWrittenEvents) {
  EXPECT_LT(LogLevel::kInfo, LogLevel::kWarning);
  EXPECT_LT(LogLevel::kWarning, LogLevel::kError);
  EXPECT_LT(LogLevel::kError, LogLevel::kOff);
}

}  // namespace
}  // namespace brood::server
