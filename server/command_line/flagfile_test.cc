// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/flagfile.h"

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::StartsWith;

TEST(FlagfileTest, ReturnsTheFlagWithoutWhiteSpaceAroundIt) {
  for (const char* line : {"--a=b", " --a=b", "\t --a=b \t", "--a=b\r"}) {
    EXPECT_THAT(FlagInLine(line, /*is_ended=*/true), IsOkAndHolds("--a=b"));
  }
  EXPECT_THAT(FlagInLine("--a= b  c # ", /*is_ended=*/false),
              IsOkAndHolds("--a= b  c #"));
  // A person who edits the file does not see these bytes as white space.
  EXPECT_THAT(FlagInLine("\f--a\v", /*is_ended=*/true),
              IsOkAndHolds("\f--a\v"));
}

TEST(FlagfileTest, FindsNoFlagInABlankLineOrAComment) {
  for (const char* line :
       {"", " ", "\t \t", "\r", " \r", "#", "# --a", "\t#"}) {
    EXPECT_THAT(FlagInLine(line, /*is_ended=*/true), IsOkAndHolds(""));
  }
}

TEST(FlagfileTest, RefusesBytesThatMayHideAFlag) {
  for (const absl::string_view line :
       {"--a=b\r--c", "--a=b\r\r", "# a\r--c", "\r--c", "--a \r "}) {
    for (const bool is_ended : {false, true}) {
      EXPECT_THAT(FlagInLine(line, is_ended),
                  StatusIs(absl::StatusCode::kInvalidArgument,
                           "a carriage return is not at the end of a line"));
    }
  }
  EXPECT_THAT(FlagInLine("--a\r", /*is_ended=*/false),
              StatusIs(absl::StatusCode::kInvalidArgument));
  for (const absl::string_view line :
       {absl::string_view("\0", 1), absl::string_view("--a=b\0c", 7),
        absl::string_view("# a\0", 4), absl::string_view("-\0-\0a\0", 6),
        absl::string_view("\0--a\r", 5)}) {
    EXPECT_THAT(
        FlagInLine(line, /*is_ended=*/true),
        StatusIs(absl::StatusCode::kInvalidArgument, "the line holds a NUL"));
  }
}

TEST(FlagfileTest, RefusesAByteOrderMarkByName) {
  for (const char* contents : {"\xEF\xBB\xBF", "\xEF\xBB\xBF--a\n",
                               "\xEF\xBB\xBF# a\n--a\n", "\xEF\xBB\xBF\n"}) {
    EXPECT_THAT(CheckEncoding(contents),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         StartsWith("the file begins with a byte order mark")));
  }
  for (const absl::string_view contents :
       {absl::string_view("\xFF\xFE-\0-\0", 6),
        absl::string_view("\xFE\xFF\0-\0-", 6),
        absl::string_view("\xFF\xFE\0\0-\0\0\0", 8),
        absl::string_view("\xFF\xFE", 2)}) {
    EXPECT_THAT(
        CheckEncoding(contents),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 "the file is UTF-16; save it as UTF-8 without a byte order "
                 "mark"));
  }
  for (const char* contents : {"", "--a", "\xC3\xA9", "\xEF\xBB", "\xFF"}) {
    EXPECT_THAT(CheckEncoding(contents), IsOk());
  }
}

// Without a largest size, a program with --flagfile=/dev/zero would never stop
// reading.
TEST(FlagfileTest, ReadsNoMoreThanTheLargestFile) {
  EXPECT_THAT(ReadFlagfile("/dev/zero", /*must_last=*/false),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "has more than 1048576 bytes"));
}

}  // namespace
}  // namespace brood::server
