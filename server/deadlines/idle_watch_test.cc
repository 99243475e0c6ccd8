// SPDX-License-Identifier: Apache-2.0

#include "brood/server/deadlines/idle_watch.h"

#include <cstdint>

#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

// All times are in seconds after `start_`; the limit is 10 s.
class IdleWatchTest : public ::testing::Test {
 protected:
  // Report is what the kernel reports: how many bytes have moved, and how long
  // ago the last segment moved.
  struct Report {
    uint64_t bytes;
    double since_segment;
  };

  // Returns when the connection is idle, as computed at `now`, if the process
  // has used `used` seconds.
  double IdleAt(double now, const Report& report, double used) {
    const net::Instant at = watch_.IdleAt(
        absl::Seconds(10), {report.bytes, absl::Seconds(report.since_segment)},
        [&] {
          ++reads_;
          return absl::Seconds(used);
        },
        net::After(start_, absl::Seconds(now)));
    return absl::ToDoubleSeconds(absl::FromChrono(at - start_));
  }
  // Does the same for a connection on which no byte has moved since the start.
  double IdleAt(double now, double used) { return IdleAt(now, {0, now}, used); }

  const net::Instant start_ = net::Now();
  IdleWatch watch_{start_};
  int reads_ = 0;
};

TEST_F(IdleWatchTest, LooksFirstAfterHalfTheLimit) {
  EXPECT_EQ(IdleWatch::FirstLook(absl::Seconds(10)), absl::Seconds(5));
}

TEST_F(IdleWatchTest, IsIdleAfterTheLimitIfNothingHappens) {
  EXPECT_EQ(IdleAt(/*now=*/5, /*used=*/1), 10);
  EXPECT_EQ(IdleAt(10, 1), 10);
}

// The processor time is zero if the kernel does not report it.
TEST_F(IdleWatchTest, IsIdleAfterTheLimitIfTheProcessorTimeIsZero) {
  EXPECT_EQ(IdleAt(5, 0), 10);
  EXPECT_EQ(IdleAt(10, 0), 10);
}

TEST_F(IdleWatchTest, ReadsNoProcessorTimeWhileBytesMove) {
  EXPECT_EQ(IdleAt(5, {7, 1}, 1), 9);
  EXPECT_EQ(IdleAt(9, {8, 4.5}, 2), 9.5);
  EXPECT_EQ(reads_, 0);
  EXPECT_EQ(IdleAt(9.5, {8, 5}, 2), 14.5);
  EXPECT_EQ(reads_, 1);
}

TEST_F(IdleWatchTest, IsNotIdleWhileTheProcessComputes) {
  for (int look = 1; look < 10; ++look) {
    EXPECT_GT(IdleAt(5 * look, look), 5 * look);
  }
}

TEST_F(IdleWatchTest, IsIdleHalfALimitAfterTheProcessLastComputed) {
  IdleAt(5, 1);
  EXPECT_EQ(IdleAt(10, 2), 15);
  EXPECT_EQ(IdleAt(15, 2), 15);
}

// The second look must not follow the first at once, because a process that
// computes may have to wait for a processor.
TEST_F(IdleWatchTest, IsNotIdleBeforeHalfALimitWasObserved) {
  EXPECT_EQ(IdleAt(40, 1), 45);
  EXPECT_EQ(IdleAt(44, 1), 45);
  EXPECT_EQ(IdleAt(45, 1), 45);
}

TEST_F(IdleWatchTest, KeepsTheProcessorTimeWhenBytesMove) {
  IdleAt(5, {1, 5}, 1);
  EXPECT_EQ(IdleAt(10, {2, 2}, 1), 13);
  EXPECT_EQ(IdleAt(13, {2, 5}, 1), 18);
  EXPECT_EQ(IdleAt(18, {2, 10}, 1), 18);
}

// F8. Segments with bytes that were counted before, at any time: the client has
// lost its power, and the bytes are sent again.
TEST_F(IdleWatchTest, IsIdleThoughOldBytesAreSentAgain) {
  EXPECT_EQ(IdleAt(5, {1, 5}, 1), 10);
  EXPECT_EQ(IdleAt(7, {1, 0}, 1), 10);
  EXPECT_EQ(IdleAt(10, {1, 0.1}, 1), 10);
}

// New bytes at the start and old bytes just now look, once, like new bytes just
// now.
TEST_F(IdleWatchTest, IsLateByHalfALimitAtMostIfOldBytesFollowNewOnes) {
  EXPECT_EQ(IdleAt(5, {1, 0}, 1), 10);
  for (double now = 6; now < 10; ++now) {
    EXPECT_EQ(IdleAt(now, {1, 0}, 1), 10);
  }
  EXPECT_EQ(IdleAt(10, {1, 0}, 1), 15);
  EXPECT_EQ(IdleAt(15, {1, 0}, 1), 15);
}

// A count that grows means a new byte, though no clock shows it; a count that
// shrinks does not.
TEST_F(IdleWatchTest, CountsOnlyGrowthAsNewBytes) {
  EXPECT_EQ(IdleAt(5, {3, 1}, 1), 9);
  EXPECT_EQ(IdleAt(9, {2, 0}, 1), 14);
  EXPECT_EQ(IdleAt(14, {3, 0}, 1), 14);
}

// A connection is not watched while it waits to be accepted.
TEST_F(IdleWatchTest, CountsFromTheStartThoughTheConnectionIsOlder) {
  EXPECT_EQ(IdleAt(5, {9, 60}, 1), 10);
}

}  // namespace
}  // namespace brood::server
