// SPDX-License-Identifier: Apache-2.0

#include <utility>

#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "gtest/gtest.h"
#include "testing/recipes/greet.h"

using brood::testing::EachStrategy;
using brood::testing::IsOkAndHolds;
using brood::testing::StrategyName;
using brood::testing::TestServer;

class GreetStrategyTest : public brood::testing::StrategyTest {};

TEST_P(GreetStrategyTest, GreetsEachClient) {
  TestServer::Setup setup;
  setup.handler = recipes::Greet;
  auto server = StartServer(std::move(setup));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("hello\n"));
  }
  StopAndExpectClean(*server);
  EXPECT_TRUE(server->children().empty());
}

INSTANTIATE_TEST_SUITE_P(With, GreetStrategyTest, EachStrategy(),
                         StrategyName());
