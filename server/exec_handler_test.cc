// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec_handler.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "absl/status/status.h"
#include "brood/server/options.h"
#include "brood/server/strategy_kind.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::StartsWith;

ExecOptions Style(ExecStyle style) {
  ExecOptions options;
  options.command = {"/bin/sh"};
  options.style = style;
  return options;
}

TEST(ExecStyleTest, HasAName) {
  EXPECT_THAT(ParseExecStyle("ucspi"), IsOkAndHolds(ExecStyle::kUcspi));
  EXPECT_THAT(ParseExecStyle("inetd"), IsOkAndHolds(ExecStyle::kInetd));
  EXPECT_THAT(ParseExecStyle("systemd"), IsOkAndHolds(ExecStyle::kSystemd));
  EXPECT_THAT(ParseExecStyle("xinetd"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "exec_style=xinetd: must be ucspi, inetd or systemd"));
}

TEST(ExecHandlerTest, IsRefusedWithoutAProgram) {
  EXPECT_THAT(ExecHandler::Create({}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "command: must name a program"));
  ExecOptions options;
  options.command = {"no-such-program"};
  EXPECT_THAT(ExecHandler::Create(options),
              StatusIs(absl::StatusCode::kNotFound,
                       StartsWith("program=no-such-program: ")));
}

TEST(ExecHandlerTest, NeedsAProcessForEachConnection) {
  const auto handler = ExecHandler::Create(Style(ExecStyle::kUcspi));
  ASSERT_THAT(handler, IsOk());
  Options options;
  for (const StrategyKind strategy :
       {StrategyKind::kFork, StrategyKind::kSpares, StrategyKind::kZygote,
        StrategyKind::kAuto}) {
    options.strategy = strategy;
    EXPECT_THAT(handler->CheckServer(options), IsOk());
  }
  options.strategy = StrategyKind::kPool;
  EXPECT_THAT(handler->CheckServer(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("strategy=pool: must be ")));
}

// A handler of the embedder may have blocked a signal before it calls this one.
TEST(ExecHandlerTest, StartsTheProgramWithoutBlockedSignals) {
  ExecOptions grep;
  grep.command = {"/bin/grep", "SigBlk", "/proc/self/status"};
  const auto handler = ExecHandler::Create(grep);
  ASSERT_THAT(handler, IsOk());
  auto pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  const pid_t child = fork();
  if (child == 0) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    _exit(static_cast<int>((*handler)(pair->connection)));
  }
  pair->connection.Close();
  std::string output;
  for (char c; read(pair->client.fd(), &c, 1) == 1;) output += c;
  EXPECT_EQ(output, "SigBlk:\t0000000000000000\n");
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, W_EXITCODE(0, 0));
}

TEST(ExecHandlerTest, NeedsTheProcessGroupOfItsStyle) {
  for (const ExecStyle style : {ExecStyle::kInetd, ExecStyle::kSystemd}) {
    const auto handler = ExecHandler::Create(Style(style));
    ASSERT_THAT(handler, IsOk());
    EXPECT_EQ(handler->group(), ChildGroup::kSession);
    Options options;
    EXPECT_THAT(handler->CheckServer(options),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         StartsWith("children=group: must be session")));
    options.children = ChildGroup::kSession;
    EXPECT_THAT(handler->CheckServer(options), IsOk());
    options.children = ChildGroup::kInherit;
    EXPECT_THAT(handler->CheckServer(options), IsOk())
        << "the child can begin its session itself";
  }
  const auto ucspi = ExecHandler::Create(Style(ExecStyle::kUcspi));
  ASSERT_THAT(ucspi, IsOk());
  EXPECT_EQ(ucspi->group(), ChildGroup::kOwn);
}

}  // namespace
}  // namespace brood::server
