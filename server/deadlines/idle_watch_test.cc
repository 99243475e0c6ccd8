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
  // What the kernel reports: how many bytes have moved, and for how long no
  // segment has.
  struct Report {
    uint64_t bytes;
    double since_segment;
  };

  // Returns when the connection is idle, seen at `now`, if the process has used
  // `used`.
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
  // The same, if no byte has moved since the start.
  double IdleAt(double now, double used) { return IdleAt(now, {0, now}, used); }

  const net::Instant start_ = net::Now();
  IdleWatch watch_{start_};
  int reads_ = 0;
};

TEST_F(IdleWatchTest, LooksFirstInTheMiddle) {
  EXPECT_EQ(IdleWatch::FirstLook(absl::Seconds(10)), absl::Seconds(5));
}

TEST_F(IdleWatchTest, IsOverWithTheLimitIfNothingHappens) {
  EXPECT_EQ(IdleAt(/*now=*/5, /*used=*/1), 10);
  EXPECT_EQ(IdleAt(10, 1), 10);
}

// So it is if the kernel does not report the processor time.
TEST_F(IdleWatchTest, IsOverWithTheLimitIfTheProcessorTimeIsZero) {
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

TEST_F(IdleWatchTest, IsNotOverWhileTheProcessComputes) {
  for (int look = 1; look < 10; ++look) {
    EXPECT_GT(IdleAt(5 * look, look), 5 * look);
  }
}

TEST_F(IdleWatchTest, IsOverHalfALimitAfterTheProcessWasSeenToCompute) {
  IdleAt(5, 1);
  EXPECT_EQ(IdleAt(10, 2), 15);
  EXPECT_EQ(IdleAt(15, 2), 15);
}

// The second look must not follow the first at once, because a process that
// computes may have to wait for a processor.
TEST_F(IdleWatchTest, IsNotOverBeforeHalfALimitHasBeenSeen) {
  EXPECT_EQ(IdleAt(40, 1), 45);
  EXPECT_EQ(IdleAt(44, 1), 45);
  EXPECT_EQ(IdleAt(45, 1), 45);
}

TEST_F(IdleWatchTest, KeepsWhatItHasReadWhenBytesMove) {
  IdleAt(5, {1, 5}, 1);
  EXPECT_EQ(IdleAt(10, {2, 2}, 1), 13);
  EXPECT_EQ(IdleAt(13, {2, 5}, 1), 18);
  EXPECT_EQ(IdleAt(18, {2, 10}, 1), 18);
}

// F8. Segments with bytes that were counted before: a client that has lost its
// power, to which they are sent again, at whatever time they are sent.
TEST_F(IdleWatchTest, IsOverThoughOldBytesAreSentAgain) {
  EXPECT_EQ(IdleAt(5, {1, 5}, 1), 10);
  EXPECT_EQ(IdleAt(7, {1, 0}, 1), 10);
  EXPECT_EQ(IdleAt(10, {1, 0.1}, 1), 10);
}

// New bytes at the start and old ones just now look like new ones just now,
// once.
TEST_F(IdleWatchTest, IsLateByHalfALimitAtMostIfOldBytesFollowNewOnes) {
  EXPECT_EQ(IdleAt(5, {1, 0}, 1), 10);
  for (double now = 6; now < 10; ++now) {
    EXPECT_EQ(IdleAt(now, {1, 0}, 1), 10);
  }
  EXPECT_EQ(IdleAt(10, {1, 0}, 1), 15);
  EXPECT_EQ(IdleAt(15, {1, 0}, 1), 15);
}

// A count that grows is a new byte though no clock shows it; one that shrinks
// is none.
TEST_F(IdleWatchTest, TakesOnlyGrowthForNewBytes) {
  EXPECT_EQ(IdleAt(5, {3, 1}, 1), 9);
  EXPECT_EQ(IdleAt(9, {2, 0}, 1), 14);
  EXPECT_EQ(IdleAt(14, {3, 0}, 1), 14);
}

// While a connection waits to be accepted it is not watched.
TEST_F(IdleWatchTest, CountsFromTheStartThoughTheConnectionIsOlder) {
  EXPECT_EQ(IdleAt(5, {9, 60}, 1), 10);
}

}  // namespace
}  // namespace brood::server
