// SPDX-License-Identifier: Apache-2.0
//
// A server that listens on an internet and on a unix socket, with every
// deadline: Options::unix_deadlines.

#include <csignal>
#include <cstdint>
#include <utility>

#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/options.h"
#include "brood/server/totals.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/short_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::KillReason;
using ::testing::HasSubstr;

class UnixDeadlinesTest : public StrategyTest {
 protected:
  // Returns a setup with each deadline. That of the peer is the longest, then
  // that of the connection.
  TestServer::Setup SetupWithEachDeadline() const {
    TestServer::Setup setup;
    setup.options.listen = {"127.0.0.1:0", dir_.Socket("s").ToString()};
    setup.options.deadlines.first_byte = absl::Milliseconds(200);
    setup.options.deadlines.idle = absl::Milliseconds(300);
    setup.options.deadlines.connection = absl::Milliseconds(1500);
    setup.options.deadlines.peer = absl::Seconds(10);
    return setup;
  }

  static uint64_t KilledFor(const server::Totals& totals, KillReason reason) {
    return totals.killed_for[static_cast<size_t>(reason)];
  }

  const ShortDir dir_;
};

INSTANTIATE_TEST_SUITE_P(With, UnixDeadlinesTest, EachStrategy(),
                         StrategyName());

TEST_P(UnixDeadlinesTest, AreThatOfTheConnectionAloneIfTheOptionsSaySo) {
  TestServer::Setup setup = SetupWithEachDeadline();
  setup.options.unix_deadlines = server::UnixDeadlines::kConnectionOnly;
  const auto server = StartServer(std::move(setup));
  auto unix_client = TestClient::Connect(server->endpoint(1));
  ASSERT_THAT(unix_client, IsOk());
  TestClient silent = ConnectTo(*server);
  TestClient idle = ConnectTo(*server);
  EXPECT_THAT(idle.Echo("hello"), IsOk());
  for (const char* reason : {"first_byte", "idle", "connection"}) {
    EXPECT_THAT(server->AwaitEvent("expired", {{"brood.kill.reason", reason}}),
                IsOk())
        << reason;
    EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.signal", SIGKILL}}),
                IsOk());
  }
  for (TestClient* client : {&*unix_client, &silent, &idle}) client->Close();
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(KilledFor(totals, KillReason::kFirstByte), 1u);
  EXPECT_EQ(KilledFor(totals, KillReason::kIdle), 1u);
  EXPECT_EQ(KilledFor(totals, KillReason::kConnection), 1u);
}

TEST_P(UnixDeadlinesTest, AreRefusedOtherwise) {
  TestServer::Setup setup = SetupWithEachDeadline();
  setup.options.strategy = row().strategy;
  EXPECT_THAT(TestServer::Start(std::move(setup)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("unix_deadlines")));
}

}  // namespace
}  // namespace brood::testing
