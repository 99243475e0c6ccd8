#include "brood/net/instant.h"

#include "gtest/gtest.h"

namespace brood::net {
namespace {

const Instant kStart = Instant() + std::chrono::hours(1000);

TEST(InstantTest, IsNeverSetBack) {
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
  // The difference does not fit into any number of nanoseconds.
  EXPECT_EQ(TimeUntil(Instant::min(), kStart), absl::ZeroDuration());
}

TEST(InstantTest, NothingComesAfterNever) {
  EXPECT_EQ(After(Never(), absl::ZeroDuration()), Never());
  EXPECT_EQ(After(Never(), absl::Seconds(1)), Never());
  EXPECT_EQ(After(Never(), -absl::Seconds(1)), Never());
}

TEST(InstantTest, NeverIsInfinitelyFar) {
  EXPECT_EQ(TimeUntil(Never(), kStart), absl::InfiniteDuration());
  EXPECT_EQ(TimeUntil(Never(), Never()), absl::InfiniteDuration());
}

TEST(InstantTest, WhatLiesBeyondAllTimeIsNever) {
  EXPECT_EQ(After(kStart, absl::InfiniteDuration()), Never());
  EXPECT_EQ(After(kStart, absl::Hours(24 * 365 * 1000)), Never());
  EXPECT_LT(After(kStart, absl::Hours(24 * 365 * 100)), Never());
}

}  // namespace
}  // namespace brood::net
