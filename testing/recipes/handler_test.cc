// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/handler_run.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "testing/recipes/greet.h"

using brood::testing::HandlerRun;
using brood::testing::IsOkAndHolds;

TEST(GreetTest, SendsHelloAndEnds) {
  HandlerRun run(recipes::Greet);
  EXPECT_THAT(run.client().ReadUntilEof(), IsOkAndHolds("hello\n"));
  EXPECT_EQ(run.code(), brood::server::ExitCode::kServed);
}
