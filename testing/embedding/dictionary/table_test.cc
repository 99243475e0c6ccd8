// SPDX-License-Identifier: Apache-2.0

#include "dictionary/table.h"

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace embedder {
namespace {

using brood::testing::IsOk;
using brood::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(Table, FindsTheMeaningOfAWord) {
  const auto table = Table::Parse("reap\tto wait once\nfork\ta process\n");
  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(table->Find("fork"), "a process");
  EXPECT_EQ(table->Find("spoon"), absl::nullopt);
  EXPECT_THAT(table->meanings(), ElementsAre(Pair("fork", "a process"),
                                             Pair("reap", "to wait once")));
}

TEST(Table, NamesTheLineThatIsWrong) {
  EXPECT_THAT(Table::Parse("fork\ta process\n\nspoon\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, "line 3: no tab"));
  EXPECT_THAT(Table::Parse("fork\ta process\nfork\ta tool\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "line 2: the same word again"));
}

TEST(Table, NamesTheFileThatCannotBeRead) {
  EXPECT_THAT(Table::Load("no/such/file"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such/file")));
}

}  // namespace
}  // namespace embedder
