// SPDX-License-Identifier: Apache-2.0

#include "brood/server/deadlines/idle_watch.h"

#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

// All times are in seconds after `start_`; the limit is 10 s.
class IdleWatchTest : public ::testing::Test {
 protected:
  // Returns when the connection is idle, seen at `now`, if no byte has moved
  // for `quiet` and the process has used `used`.
  double IdleAt(double now, double quiet, double used) {
    const net::Instant at = watch_.IdleAt(
        absl::Seconds(10), absl::Seconds(quiet),
        [&] {
          ++reads_;
          return absl::Seconds(used);
        },
        net::After(start_, absl::Seconds(now)));
    return absl::ToDoubleSeconds(absl::FromChrono(at - start_));
  }

  const net::Instant start_ = net::Now();
  IdleWatch watch_;
  int reads_ = 0;
};

TEST_F(IdleWatchTest, LooksFirstInTheMiddle) {
  EXPECT_EQ(IdleWatch::FirstLook(absl::Seconds(10)), absl::Seconds(5));
}

TEST_F(IdleWatchTest, IsOverWithTheLimitIfNothingHappens) {
  EXPECT_EQ(IdleAt(/*now=*/5, /*quiet=*/5, /*used=*/1), 10);
  EXPECT_EQ(IdleAt(10, 10, 1), 10);
}

// So it is if the kernel does not report the processor time.
TEST_F(IdleWatchTest, IsOverWithTheLimitIfTheProcessorTimeIsZero) {
  EXPECT_EQ(IdleAt(5, 5, 0), 10);
  EXPECT_EQ(IdleAt(10, 10, 0), 10);
}

TEST_F(IdleWatchTest, ReadsNoProcessorTimeWhileBytesMove) {
  EXPECT_EQ(IdleAt(5, 1, 1), 9);
  EXPECT_EQ(IdleAt(9, 4.5, 2), 9.5);
  EXPECT_EQ(reads_, 0);
  EXPECT_EQ(IdleAt(9.5, 5, 2), 14.5);
  EXPECT_EQ(reads_, 1);
}

TEST_F(IdleWatchTest, IsNotOverWhileTheProcessComputes) {
  for (int look = 1; look < 10; ++look) {
    EXPECT_GT(IdleAt(5 * look, 5 * look, look), 5 * look);
  }
}

TEST_F(IdleWatchTest, IsOverHalfALimitAfterTheProcessWasSeenToCompute) {
  IdleAt(5, 5, 1);
  EXPECT_EQ(IdleAt(10, 10, 2), 15);
  EXPECT_EQ(IdleAt(15, 15, 2), 15);
}

// The second look must not follow the first at once, because a process that
// computes may have to wait for a processor.
TEST_F(IdleWatchTest, IsNotOverBeforeHalfALimitHasBeenSeen) {
  EXPECT_EQ(IdleAt(40, 40, 1), 45);
  EXPECT_EQ(IdleAt(44, 44, 1), 45);
  EXPECT_EQ(IdleAt(45, 45, 1), 45);
}

TEST_F(IdleWatchTest, KeepsWhatItHasReadWhenBytesMove) {
  IdleAt(5, 5, 1);
  EXPECT_EQ(IdleAt(10, 2, 1), 13);
  EXPECT_EQ(IdleAt(13, 5, 1), 18);
  EXPECT_EQ(IdleAt(18, 10, 1), 18);
}

}  // namespace
}  // namespace brood::server
