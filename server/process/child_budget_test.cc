// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/child_budget.h"

#include "brood/server/options.h"
#include "brood/server/strategy_kind.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

Options With(StrategyKind strategy) {
  Options options;
  options.strategy = strategy;
  options.max_connections = 100;
  options.spares.max = 30;
  options.pool.workers = 20;
  return options;
}

TEST(ChildBudgetTest, HasRoomForWhatEachStrategyCreatesAhead) {
  // Zygote, standby and rehearsal, and ten generations.
  constexpr size_t kOthers = 13;
  EXPECT_GE(MostChildren(With(StrategyKind::kFork)), 100 + kOthers);
  EXPECT_GE(MostChildren(With(StrategyKind::kZygote)), 100 + kOthers);
  EXPECT_GE(MostChildren(With(StrategyKind::kAuto)), 100 + kOthers);
  EXPECT_GE(MostChildren(With(StrategyKind::kSpares)), 100 + 30 + kOthers);
  // Each worker serves one connection, or another child does so in its place.
  EXPECT_GE(MostChildren(With(StrategyKind::kPool)), 20 + 20 + kOthers);
}

}  // namespace
}  // namespace brood::server
