// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy_kind.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(StrategyKindTest, ListsEachKindOnce) {
  EXPECT_THAT(AllStrategyKinds(),
              ElementsAre(StrategyKind::kFork, StrategyKind::kSpares,
                          StrategyKind::kPool, StrategyKind::kZygote,
                          StrategyKind::kAuto));
}

TEST(StrategyKindTest, HasTheNamesOfTheFlag) {
  std::vector<std::string> names;
  for (const StrategyKind kind : AllStrategyKinds()) {
    names.emplace_back(NameOf(kind));
  }
  EXPECT_THAT(names, ElementsAre("fork", "spares", "pool", "zygote", "auto"));
}

TEST(StrategyKindTest, ParsesTheNameOfEachKind) {
  for (const StrategyKind kind : AllStrategyKinds()) {
    EXPECT_THAT(ParseStrategyKind(NameOf(kind)), IsOkAndHolds(kind));
  }
}

TEST(StrategyKindTest, HasNoNameForAValueThatIsNoEnumerator) {
  EXPECT_THAT(NameOf(StrategyKind{99}), IsEmpty());
}

TEST(StrategyKindTest, ListsTheNamesForAnotherName) {
  for (const std::string text : {"", "Fork", "thread", "fork "}) {
    EXPECT_THAT(ParseStrategyKind(text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         "strategy=" + text +
                             ": must be fork, spares, pool, zygote or auto"));
  }
  for (const StrategyKind kind : AllStrategyKinds()) {
    EXPECT_THAT(ParseStrategyKind("thread"),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(std::string(NameOf(kind)))));
  }
}

// The error is printed where each line is a message.
TEST(StrategyKindTest, EscapesControlCharactersOfAnotherName) {
  EXPECT_THAT(ParseStrategyKind("a\nb"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("strategy=a\\nb: ")));
}

}  // namespace
}  // namespace brood::server
