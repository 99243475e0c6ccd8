// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/help.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

TEST(HelpTest, WrapsAtTheLastWordThatFits) {
  const std::string word(36, 'x');
  EXPECT_EQ(Wrapped("", 6), "");
  EXPECT_EQ(Wrapped("a", 6), "      a\n");
  EXPECT_EQ(Wrapped(absl::StrCat(word, " ", word, "x"), 6),
            absl::StrCat("      ", word, " ", word, "x\n"));
  EXPECT_EQ(Wrapped(absl::StrCat(word, " ", word, "xx y"), 6),
            absl::StrCat("      ", word, "\n      ", word, "xx y\n"));
}

TEST(HelpTest, LeavesAWordThatIsTooLongInOnePiece) {
  const std::string word(90, 'x');
  EXPECT_EQ(Wrapped(absl::StrCat("a ", word, " b"), 2),
            absl::StrCat("  a\n  ", word, "\n  b\n"));
}

TEST(HelpTest, PrintsTheVersionInOneLine) {
  EXPECT_EQ(VersionText().rfind("brood ", 0), 0u);
  EXPECT_EQ(VersionText().find('\n'), VersionText().size() - 1);
}

}  // namespace
}  // namespace brood::server
