// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/output/log_budget.h"

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

class LogBudgetTest : public ::testing::Test {
 protected:
  // Returns how many of `tried` lines find room, `seconds` after the start.
  int Take(double seconds, int tried) {
    int taken = 0;
    for (int i = 0; i < tried; ++i) taken += budget_.Take(1, At(seconds));
    return taken;
  }
  static net::Instant At(double seconds) {
    return net::After(net::Instant(), absl::Seconds(1000 + seconds));
  }

  LogBudget budget_{1000};
};

TEST_F(LogBudgetTest, AllowsABurstAndThenTheRate) {
  EXPECT_EQ(Take(0, 7000), 5000);
  EXPECT_TRUE(budget_.IsSpent());
  EXPECT_EQ(Take(0.5, 7000), 500);
  EXPECT_EQ(Take(1.5, 7000), 1000);
  EXPECT_EQ(Take(60, 7000), 5000) << "no more than a burst is saved";
}

TEST_F(LogBudgetTest, LeavesOutNothingAtTheRate) {
  for (int i = 1; i < 30000; ++i) {
    ASSERT_TRUE(budget_.Take(1, At(i / 1000.0))) << i;
  }
  EXPECT_EQ(budget_.TakeCount(At(31)), absl::nullopt);
}

TEST_F(LogBudgetTest, HasTheCountOnceASecond) {
  Take(0, 5100);
  EXPECT_EQ(budget_.TakeCount(At(0)), 100u);
  EXPECT_EQ(budget_.TakeCount(At(0)), absl::nullopt);
  Take(0, 7);
  EXPECT_EQ(budget_.TakeCount(At(0.9)), absl::nullopt);
  EXPECT_EQ(budget_.TakeCount(At(1)), 7u);
  EXPECT_EQ(budget_.TakeCount(At(9)), absl::nullopt) << "there were none";
}

TEST_F(LogBudgetTest, CountsEachLineOfAnEventWithSeveral) {
  Take(0, 4999);
  EXPECT_TRUE(budget_.Take(2, At(0)));
  EXPECT_FALSE(budget_.Take(2, At(0)));
  EXPECT_EQ(budget_.TakeCount(), 2u);
  EXPECT_EQ(Take(0.002, 7), 1) << "the second line of the event was borrowed";
}

TEST_F(LogBudgetTest, AllowsAllIfThereIsNoLimit) {
  LogBudget none(0);
  for (int i = 0; i < 100000; ++i) ASSERT_TRUE(none.Take(1, At(0)));
  EXPECT_FALSE(none.IsSpent());
  EXPECT_EQ(none.TakeCount(At(0)), absl::nullopt);
}

// The monotonic clock is never set back, but a caller may pass two readings in
// the wrong order.
TEST_F(LogBudgetTest, AddsNoTokensForTimeThatRunsBackwards) {
  Take(10, 5000);
  EXPECT_EQ(Take(0, 10), 0);
}

}  // namespace
}  // namespace brood::server
