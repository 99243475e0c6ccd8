// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/line_buffer.h"

#include <limits>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

// Returns what `append` appends to a buffer that is long enough.
template <typename Append>
std::string Appended(const Append& append) {
  char memory[64];
  LineBuffer line(absl::MakeSpan(memory));
  append(line);
  EXPECT_FALSE(line.overflowed());
  return std::string(line.text());
}

std::string Seconds(absl::Duration length, int decimals) {
  return Appended(
      [&](LineBuffer& line) { line.AppendSeconds(length, decimals); });
}

std::string Time(absl::Time time, int decimals) {
  return Appended([&](LineBuffer& line) { line.AppendTime(time, decimals); });
}

TEST(LineBufferTest, AppendsTextsAndIntegers) {
  EXPECT_EQ(Appended([](LineBuffer& line) {
              line.Append("pid ");
              line.AppendInteger(0);
              line.Append("");
              line.AppendInteger(-4711);
            }),
            "pid 0-4711");
  EXPECT_EQ(Appended([](LineBuffer& line) {
              line.AppendInteger(std::numeric_limits<int64_t>::min());
              line.AppendInteger(std::numeric_limits<int64_t>::max());
            }),
            "-92233720368547758089223372036854775807");
}

TEST(LineBufferTest, RoundsSeconds) {
  EXPECT_EQ(Seconds(absl::ZeroDuration(), 3), "0.000");
  EXPECT_EQ(Seconds(absl::Milliseconds(1500), 6), "1.500000");
  EXPECT_EQ(Seconds(absl::Microseconds(20499), 3), "0.020");
  EXPECT_EQ(Seconds(absl::Microseconds(20500), 3), "0.021");
  EXPECT_EQ(Seconds(absl::Milliseconds(999), 1), "1.0");
  EXPECT_EQ(Seconds(absl::Hours(100), 0), "360000");
  EXPECT_EQ(Seconds(absl::Nanoseconds(5), 9), "0.000000005");
  EXPECT_EQ(Seconds(-absl::Milliseconds(1500), 1), "-1.5");
  EXPECT_EQ(Seconds(absl::InfiniteDuration(), 3), "inf");
  EXPECT_EQ(Seconds(-absl::InfiniteDuration(), 3), "-inf");
}

TEST(LineBufferTest, AppendsTheTimeAsRfc3339InUtc) {
  EXPECT_EQ(Time(absl::UnixEpoch(), 3), "1970-01-01T00:00:00.000Z");
  const absl::Time time =
      absl::FromCivil(absl::CivilSecond(2026, 11, 29, 21, 3, 9),
                      absl::UTCTimeZone()) +
      absl::Nanoseconds(123456789);
  EXPECT_EQ(Time(time, 3), "2026-11-29T21:03:09.123Z");
  EXPECT_EQ(Time(time, 6), "2026-11-29T21:03:09.123456Z");
  EXPECT_EQ(Time(time, 9), "2026-11-29T21:03:09.123456789Z");
}

TEST(LineBufferTest, AgreesWithAbseilOnDaysOfThreeCenturies) {
  absl::Time time = absl::UnixEpoch() + absl::Milliseconds(86399999);
  for (int i = 0; i < 35000; ++i, time += absl::Hours(73)) {
    ASSERT_EQ(Time(time, 3), absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", time,
                                              absl::UTCTimeZone()));
  }
}

TEST(LineBufferTest, LimitsTheTimeToYearsThatNanosecondsCanName) {
  EXPECT_EQ(Time(absl::InfinitePast(), 3), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(Time(absl::InfiniteFuture(), 3), "2262-04-11T23:47:16.854Z");
}

TEST(LineBufferTest, CutsTextAtItsEnd) {
  char memory[] = "......";
  LineBuffer line(absl::MakeSpan(memory, 4));
  line.Append("abc");
  EXPECT_EQ(line.room(), 1u);
  EXPECT_FALSE(line.overflowed());
  line.Append("de");
  EXPECT_TRUE(line.overflowed());
  EXPECT_EQ(line.text(), "abcd");
  line.Append("f");
  EXPECT_EQ(line.text(), "abcd");
  EXPECT_EQ(absl::string_view(memory), "abcd..");
}

TEST(LineBufferTest, LeavesOutAnIntegerThatDoesNotFit) {
  char memory[4];
  LineBuffer line(absl::MakeSpan(memory));
  line.AppendInteger(4711);
  EXPECT_FALSE(line.overflowed());
  line.Truncate(1);
  line.AppendInteger(4711);
  EXPECT_TRUE(line.overflowed());
  EXPECT_EQ(line.text(), "4");
  line.Append("x");
  line.AppendInteger(1);
  EXPECT_EQ(line.text(), "4");
}

TEST(LineBufferTest, TruncateRemovesTheOverflow) {
  char memory[4];
  LineBuffer line(absl::MakeSpan(memory));
  line.Append("abcdef");
  line.Truncate(2);
  EXPECT_FALSE(line.overflowed());
  EXPECT_EQ(line.text(), "ab");
  line.Truncate(3);
  EXPECT_EQ(line.text(), "ab");
}

TEST(LineBufferTest, CanBeWithoutMemory) {
  LineBuffer line{absl::Span<char>()};
  line.Append("");
  EXPECT_FALSE(line.overflowed());
  line.Append("a");
  line.AppendInteger(1);
  EXPECT_TRUE(line.overflowed());
  EXPECT_EQ(line.text(), "");
}

}  // namespace
}  // namespace brood::server
