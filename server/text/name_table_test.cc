// SPDX-License-Identifier: Apache-2.0

#include "brood/server/text/name_table.h"

#include <string>

#include "absl/status/status.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;

enum class Color { kRed, kGreen, kBlue };

constexpr NamedValue<Color> kTwo[] = {{Color::kRed, "red"},
                                      {Color::kBlue, "blue"}};

TEST(NameTableTest, FindsTheNameOfAValue) {
  EXPECT_EQ(FindName(kTwo, Color::kRed), "red");
  EXPECT_EQ(FindName(kTwo, Color::kBlue), "blue");
  EXPECT_EQ(FindName(kTwo, Color::kGreen), "");
}

TEST(NameTableTest, ParsesExactNamesOnly) {
  EXPECT_THAT(ParseName(kTwo, "color", "blue"), IsOkAndHolds(Color::kBlue));
  for (const std::string text : {"", "Blue", "blu", "blues", " blue"}) {
    EXPECT_THAT(ParseName(kTwo, "color", text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         "color=" + text + ": must be red or blue"));
  }
}

TEST(NameTableTest, ListsEveryNameThatIsAllowed) {
  constexpr NamedValue<Color> kOne[] = {{Color::kRed, "red"}};
  constexpr NamedValue<Color> kThree[] = {
      {Color::kRed, "red"}, {Color::kGreen, "green"}, {Color::kBlue, "blue"}};
  EXPECT_THAT(
      ParseName(kOne, "color", "x"),
      StatusIs(absl::StatusCode::kInvalidArgument, "color=x: must be red"));
  EXPECT_THAT(ParseName(kThree, "color", "x"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "color=x: must be red, green or blue"));
}

}  // namespace
}  // namespace brood::server
