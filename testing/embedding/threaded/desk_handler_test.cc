// SPDX-License-Identifier: Apache-2.0

// The handler alone, beside busy threads. No process is forked.

#include "threaded/desk_handler.h"

#include <string>

#include "absl/status/statusor.h"
#include "brood/server/handler.h"
#include "brood/testing/handler_run.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "threaded/log.h"
#include "threaded/workshop.h"

namespace embedder {
namespace {

using brood::server::ExitCode;
using brood::testing::HandlerRun;
using brood::testing::IsOkAndHolds;
using ::testing::MatchesRegex;

using DeskHandlerTest = brood::testing::LeakCheck;

TEST_F(DeskHandlerTest, CountsTheLinesOfItsProcess) {
  Log log;
  for (const char* answer :
       {"said 1, resident [0-9]+ MiB\n", "said 2, resident [0-9]+ MiB\n"}) {
    HandlerRun run{DeskHandler(&log)};
    EXPECT_THAT(run.client().ReadUntilEof(),
                IsOkAndHolds(MatchesRegex(answer)));
    EXPECT_EQ(run.code(), ExitCode::kServed);
  }
}

TEST_F(DeskHandlerTest, ReportsTheHeapOfItsProcess) {
  Log log;
  const Workshop workshop(/*threads=*/8, /*heap_bytes=*/100 << 20, &log);
  HandlerRun run{DeskHandler(&log)};
  EXPECT_THAT(run.client().ReadUntilEof(),
              IsOkAndHolds(MatchesRegex("said [0-9]+, resident 1.. MiB\n")));
  EXPECT_EQ(run.code(), ExitCode::kServed);
}

}  // namespace
}  // namespace embedder
