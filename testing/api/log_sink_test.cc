// SPDX-License-Identifier: Apache-2.0
//
// A log sink: events of the parent go to a function of the embedder, and lines
// of children to standard error, with the name that the embedder gave the
// server.

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <utility>

#include "brood/server/log_level.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// What the sink was called with.
struct Counts {
  std::atomic<int> listening, serving, ended, stopped;
  std::atomic<int> elsewhere;  // in another process than the server process
};

class LogSinkTest : public StrategyTest {};

INSTANTIATE_TEST_SUITE_P(With, LogSinkTest, EachStrategy(), StrategyName());

TEST_P(LogSinkTest, TakesTheEventsOfTheParentAlone) {
  Shared<Counts> counts;
  Shared<std::atomic<pid_t>> server_pid;
  TestServer::Setup setup;
  setup.before = [&] { *server_pid = getpid(); };
  setup.options.log.name = "dictionary";
  setup.options.log.sink = [&](const server::LogRecord& record) {
    if (getpid() != *server_pid) ++counts->elsewhere;
    if (record.name == "listening") ++counts->listening;
    if (record.name == "forked" || record.name == "assigned") {
      ++counts->serving;
    }
    if (record.name == "ended") ++counts->ended;
    if (record.name == "stopped") ++counts->stopped;
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  }
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(counts->listening, 1);
  EXPECT_EQ(counts->serving, 3);
  EXPECT_EQ(counts->ended, 3);
  EXPECT_EQ(counts->stopped, 1);
  EXPECT_EQ(counts->elsewhere, 0);
  EXPECT_THAT(
      EventsOf(report.log, "handling", {{"service.name", "dictionary"}}),
      SizeIs(3));
  for (const char* name : {"listening", "forked", "assigned", "ended"}) {
    EXPECT_THAT(EventsOf(report.log, name), IsEmpty());
  }
}

}  // namespace
}  // namespace brood::testing
