// SPDX-License-Identifier: Apache-2.0

#include "brood/net/instant.h"

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <climits>
#include <cstdint>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

const Instant kStart = Instant() + std::chrono::hours(1000);

TEST(InstantTest, NeverGoesBack) {
  Instant last = Now();
  for (int i = 0; i < 1000; ++i) {
    const Instant now = Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(InstantTest, AfterAndTimeUntilUndoEachOther) {
  for (absl::Duration length :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Milliseconds(1500),
        absl::Hours(24 * 365)}) {
    EXPECT_EQ(TimeUntil(After(kStart, length), kStart), length);
  }
}

TEST(InstantTest, TimeUntilIsZeroWhenTheDeadlineHasPassed) {
  EXPECT_EQ(TimeUntil(kStart, After(kStart, absl::Seconds(3))),
            absl::ZeroDuration());
  EXPECT_EQ(TimeUntil(kStart, kStart), absl::ZeroDuration());
  // The difference does not fit into an int64_t of nanoseconds.
  EXPECT_EQ(TimeUntil(Instant::min(), kStart), absl::ZeroDuration());
}

TEST(InstantTest, NothingComesAfterNever) {
  EXPECT_EQ(After(Never(), absl::ZeroDuration()), Never());
  EXPECT_EQ(After(Never(), absl::Seconds(1)), Never());
  EXPECT_EQ(After(Never(), -absl::Seconds(1)), Never());
}

// F27c: the difference of two such instants overflows.
TEST(InstantTest, ClampsToTheEarliestInstant) {
  EXPECT_EQ(After(Instant::min(), absl::ZeroDuration()), Instant::min());
  EXPECT_EQ(After(Instant::min(), -absl::Seconds(1)), Instant::min());
  EXPECT_EQ(After(kStart, -absl::InfiniteDuration()), Instant::min());
  EXPECT_EQ(After(Instant::min(), absl::InfiniteDuration()), Never());
  EXPECT_EQ(After(Instant::min(), absl::Seconds(1)),
            Instant::min() + std::chrono::seconds(1));
  EXPECT_GT(TimeUntil(Never() - std::chrono::nanoseconds(1), Instant::min()),
            absl::Hours(24 * 365 * 500));
}

// F27c: 49.7 days are 2^32 ms, and 24.8 days are 2^31.
TEST(InstantTest, ClampsLengthsToTheRangeOfInt) {
  EXPECT_EQ(KernelMilliseconds(absl::Nanoseconds(1)), 1);
  EXPECT_EQ(KernelMilliseconds(absl::Milliseconds(1500)), 1500);
  EXPECT_EQ(KernelMilliseconds(-absl::Seconds(1)), 0);
  EXPECT_EQ(KernelMilliseconds(-absl::InfiniteDuration()), 0);
  for (const absl::Duration length :
       {absl::Hours(24 * 25), absl::Hours(24 * 50), absl::Hours(24 * 365),
        absl::Milliseconds(uint64_t{1} << 32), absl::InfiniteDuration()}) {
    EXPECT_EQ(KernelMilliseconds(length), INT_MAX);
    EXPECT_EQ(KernelSeconds(length), 32767);
  }
  EXPECT_EQ(KernelSeconds(absl::Milliseconds(1500)), 1);
  EXPECT_EQ(KernelSeconds(absl::ZeroDuration()), 1);
  EXPECT_EQ(KernelSeconds(-absl::InfiniteDuration()), 1);
}

TEST(InstantTest, NeverIsInfinitelyFar) {
  EXPECT_EQ(TimeUntil(Never(), kStart), absl::InfiniteDuration());
  EXPECT_EQ(TimeUntil(Never(), Never()), absl::InfiniteDuration());
}

TEST(InstantTest, ReturnsNeverForInstantsOutOfRange) {
  EXPECT_EQ(After(kStart, absl::InfiniteDuration()), Never());
  EXPECT_EQ(After(kStart, absl::Hours(24 * 365 * 1000)), Never());
  EXPECT_LT(After(kStart, absl::Hours(24 * 365 * 100)), Never());
}

TEST(InstantTest, DoesNotOverflowAtEitherEndOfTime) {
  const absl::Duration kAges = absl::Hours(24 * 365 * 1000);
  for (const absl::Duration length :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Hours(1), kAges}) {
    EXPECT_GE(After(Instant::min(), length), Instant::min());
    EXPECT_EQ(After(Instant::min(), -length), Instant::min());
    EXPECT_EQ(After(Never(), length), Never());
  }
  const Instant last = Never() - std::chrono::nanoseconds(1);
  EXPECT_EQ(After(last, absl::Nanoseconds(1)), Never());
  EXPECT_EQ(After(last, absl::Seconds(1)), Never());
  EXPECT_EQ(After(kStart, -absl::InfiniteDuration()), Instant::min());
  EXPECT_EQ(After(kStart, -kAges), Instant::min());
  EXPECT_EQ(After(Instant::min(), absl::InfiniteDuration()), Never());

  EXPECT_GT(TimeUntil(kStart, Instant::min()), absl::Hours(24 * 365 * 200));
  EXPECT_GT(TimeUntil(last, Instant::min()), absl::Hours(24 * 365 * 200));
  EXPECT_EQ(TimeUntil(Instant::min(), Never()), absl::ZeroDuration());
  EXPECT_EQ(TimeUntil(Instant::min(), Instant::min()), absl::ZeroDuration());
  EXPECT_EQ(TimeUntil(Never(), Instant::min()), absl::InfiniteDuration());
}

}  // namespace
}  // namespace brood::net
