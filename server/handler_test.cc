// SPDX-License-Identifier: Apache-2.0

#include "brood/server/handler.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

constexpr ExitCode kAll[] = {
    ExitCode::kServed,        ExitCode::kHandlerFailed,
    ExitCode::kPeerLost,      ExitCode::kDeadlineExceeded,
    ExitCode::kProtocolError, ExitCode::kUsage,
    ExitCode::kBug,           ExitCode::kSystemRefused,
};

TEST(ExitCodeTest, HasAMeaningOfItsOwn) {
  std::set<std::string> meanings;
  for (ExitCode code : kAll) {
    const std::string meaning(Meaning(code));
    EXPECT_NE(meaning, "");
    EXPECT_TRUE(meanings.insert(meaning).second) << "twice: " << meaning;
  }
}

TEST(ExitCodeTest, HasNoMeaningIfItIsAHandlersOwnNumber) {
  const std::set<ExitCode> ours(std::begin(kAll), std::end(kAll));
  for (int number = 0; number < 256; ++number) {
    const auto code = static_cast<ExitCode>(number);
    EXPECT_EQ(Meaning(code).empty(), ours.count(code) == 0) << "for " << number;
  }
}

// Scripts and monitors depend on the numbers; the last three are those of djb's
// tools.
TEST(ExitCodeTest, KeepsItsNumber) {
  const int kNumbers[] = {0, 1, 2, 3, 4, 100, 101, 111};
  for (size_t i = 0; i < std::size(kAll); ++i) {
    EXPECT_EQ(static_cast<int>(kAll[i]), kNumbers[i]);
  }
}

}  // namespace
}  // namespace brood::server
