// SPDX-License-Identifier: Apache-2.0

#include <cerrno>
#include <utility>

#include "brood/testing/fault_injector.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "testing/recipes/greet.h"

using brood::testing::FaultInjector;
using brood::testing::IsOkAndHolds;
using brood::testing::TestServer;

class GreetFaultsTest : public brood::testing::ServerTest {};

TEST_F(GreetFaultsTest, RepeatsAForkThatFailed) {
  if (!FaultInjector::Supported().ok()) GTEST_SKIP();
  FaultInjector faults({FaultInjector::kFork});
  // The first process that a server creates serves no client.
  faults.Fail(FaultInjector::kFork, EAGAIN, /*first=*/2);
  TestServer::Setup setup;
  setup.before = [&] { faults.Install(); };
  setup.handler = recipes::Greet;
  auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("hello\n"));
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
  EXPECT_EQ(faults.failed(FaultInjector::kFork), 1);
}
