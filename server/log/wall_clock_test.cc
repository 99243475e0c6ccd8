// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/wall_clock.h"

#include <ctime>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;

// Returns the time of day as the kernel has it.
absl::Time KernelTime() {
  timespec time;
  EXPECT_EQ(clock_gettime(CLOCK_REALTIME, &time), 0);
  return absl::TimeFromTimespec(time);
}

TEST(WallClockTest, ReturnsTheTimeOfDay) {
  const absl::Time before = KernelTime();
  const absl::Time now = WallClockNow();
  const absl::Time after = KernelTime();
  if (after < before) GTEST_SKIP() << "the clock was set back meanwhile";
  EXPECT_THAT(now, AllOf(Ge(before), Le(after)));
}

}  // namespace
}  // namespace brood::server
