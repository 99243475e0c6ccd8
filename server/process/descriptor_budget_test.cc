// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/descriptor_budget.h"

#include <fcntl.h>
#include <unistd.h>

#include "brood/server/options.h"
#include "brood/server/strategy_kind.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

class DescriptorBudgetTest : public ::brood::testing::LeakCheck {};

Options OptionsWith(StrategyKind strategy) {
  Options options;
  options.strategy = strategy;
  return options;
}

TEST_F(DescriptorBudgetTest, IsTheSameForAnyCapWithoutWorkers) {
  for (const StrategyKind strategy :
       {StrategyKind::kFork, StrategyKind::kZygote, StrategyKind::kAuto}) {
    Options options = OptionsWith(strategy);
    const size_t few = DescriptorBudget::For(options, 3).total();
    options.max_connections = 100000;
    EXPECT_EQ(DescriptorBudget::For(options, 3).total(), few);
    EXPECT_LT(few, 64u);
  }
}

TEST_F(DescriptorBudgetTest, HasTwoForEachWorkerOfThePool) {
  Options options = OptionsWith(StrategyKind::kPool);
  options.pool.workers = 100;
  EXPECT_EQ(DescriptorBudget::For(options, 3).workers, 200u);
  options.max_connections = 10;
  EXPECT_EQ(DescriptorBudget::For(options, 3).workers, 20u)
      << "there are no more workers than connections";
}

TEST_F(DescriptorBudgetTest, HasRoomForSparesThatTakeTheirConnectionsOver) {
  Options options = OptionsWith(StrategyKind::kSpares);
  options.spares.max = 50;
  EXPECT_EQ(DescriptorBudget::For(options, 3).workers, 200u);
}

TEST_F(DescriptorBudgetTest, GrowsWithTheListenersAndWithUpgrades) {
  Options options;
  const DescriptorBudget one = DescriptorBudget::For(options, 3);
  options.listen = {"127.0.0.1:0", "[::1]:0", "unix:/run/x"};
  const DescriptorBudget three = DescriptorBudget::For(options, 3);
  EXPECT_EQ(three.server, one.server + 4);
  options.upgrade.command = {"/bin/server"};
  EXPECT_GE(DescriptorBudget::For(options, 3).server, three.server + 3 + 12);
}

TEST_F(DescriptorBudgetTest, ListsItsParts) {
  Options options = OptionsWith(StrategyKind::kPool);
  options.pool.workers = 100;
  DescriptorBudget budget = DescriptorBudget::For(options, 3);
  budget.server = 25;
  EXPECT_EQ(budget.total(), 228u);
  EXPECT_EQ(budget.ToString(),
            "200 for workers, 25 for the server, 3 open before");
  budget.workers = 0;
  EXPECT_EQ(budget.ToString(), "25 for the server, 3 open before");
}

TEST_F(DescriptorBudgetTest, CountsTheOpenDescriptors) {
  const size_t before = CountOpenDescriptors();
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(CountOpenDescriptors(), before + 1);
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, 500);
  EXPECT_EQ(CountOpenDescriptors(), before + 2) << "not the highest number";
  close(fd);
  close(high);
  EXPECT_EQ(CountOpenDescriptors(), before);
}

}  // namespace
}  // namespace brood::server
