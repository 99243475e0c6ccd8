// SPDX-License-Identifier: Apache-2.0

#include <utility>

#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "testing/recipes/greet.h"

using brood::testing::IsOkAndHolds;
using brood::testing::TestServer;

class GreetServerTest : public brood::testing::ServerTest {};

TEST_F(GreetServerTest, ServesTwoClientsByTwoProcesses) {
  TestServer::Setup setup;
  setup.options.max_connections = 2;
  setup.handler = recipes::Greet;
  auto server = StartServer(std::move(setup));
  auto first = ConnectTo(*server), second = ConnectTo(*server);
  EXPECT_THAT(second.ReadUntilEof(), IsOkAndHolds("hello\n"));
  EXPECT_THAT(first.ReadUntilEof(), IsOkAndHolds("hello\n"));
  first.Close();
  second.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 2u);
}
