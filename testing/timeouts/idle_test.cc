// SPDX-License-Identifier: Apache-2.0
//
// What "idle" means for Options::Deadlines::idle: no byte is received or sent,
// and the process uses no processor.

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/net/socket.h"
#include "brood/server/handler.h"
#include "brood/server/totals.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/network/lost_power.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using server::KillReason;

constexpr absl::Duration kIdle = absl::Milliseconds(400);

// Uses a processor for `length` of time.
void Compute(absl::Duration length) {
  const net::Instant end = net::After(net::Now(), length);
  while (net::Now() < end) {
  }
}

[[noreturn]] void SleepForever() {
  for (;;) pause();
}

class IdleTest : public StrategyTest {
 protected:
  static TestServer::Setup IdleSetup(server::Handler handler) {
    TestServer::Setup setup;
    setup.options.deadlines.idle = kIdle;
    setup.handler = std::move(handler);
    return setup;
  }

  // Expects that the child of the only client of `server` is killed for being
  // idle. Returns after what time.
  absl::Duration ExpectExpired(TestServer& server) {
    const net::Instant start = net::Now();
    TestClient client = ConnectTo(server);
    EXPECT_THAT(server.AwaitEvent("expired", {{"brood.kill.reason", "idle"}}),
                IsOk());
    EXPECT_THAT(server.AwaitEvent("ended", {{"brood.exit.signal", SIGKILL}}),
                IsOk());
    const absl::Duration taken = absl::FromChrono(net::Now() - start);
    client.Close();
    const server::Totals totals = StopAndExpectClean(server).totals;
    EXPECT_EQ(totals.killed_for[static_cast<size_t>(KillReason::kIdle)], 1u);
    return taken;
  }
};

INSTANTIATE_TEST_SUITE_P(With, IdleTest, EachStrategy(), StrategyName());

TEST_P(IdleTest, DoesNotEndAHandlerThatComputes) {
  const auto server = StartServer(IdleSetup([](net::Connection& connection) {
    Compute(4 * kIdle);
    return Reply(connection, "computed");
  }));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds("computed"));
  client.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
}

TEST_P(IdleTest, EndsAHandlerThatSleeps) {
  const auto server = StartServer(IdleSetup(
      [](net::Connection& /*connection*/) -> ExitCode { SleepForever(); }));
  EXPECT_GE(ExpectExpired(*server), kIdle);
}

TEST_P(IdleTest, EndsAHandlerThatSleepsAfterItHasComputed) {
  const auto server =
      StartServer(IdleSetup([](net::Connection& /*connection*/) -> ExitCode {
        Compute(2 * kIdle);
        SleepForever();
      }));
  EXPECT_GE(ExpectExpired(*server), 2 * kIdle + kIdle / 2);
}

// F8. Bytes that TCP sends again, after 0.2, 0.6, 1.4 and 3 s, are no new
// bytes. By the timestamps of the kernel this child would be idle only
// after 2.4 s.
TEST_P(IdleTest, DoesNotCountBytesThatAreSentAgainToAClientWithoutPower) {
  TestServer::Setup setup = IdleSetup([](net::Connection& connection) {
    char byte;
    const net::Socket& socket = connection.socket();
    if (!net::ReadFull(socket, absl::MakeSpan(&byte, 1)).ok() ||
        !net::WriteFull(socket, "reply").ok()) {
      return ExitCode::kBug;
    }
    SleepForever();
  });
  setup.options.deadlines.idle = absl::Seconds(1);
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Send("x"), IsOk());
  const net::Instant start = net::Now();
  ASSERT_EQ(LosePower(client.socket().fd()), 0);
  EXPECT_THAT(server->AwaitEvent("expired", {{"brood.kill.reason", "idle"}}),
              IsOk());
  EXPECT_LT(absl::FromChrono(net::Now() - start), absl::Seconds(2.2));
  client.Close();
  StopAndExpectClean(*server);
}

}  // namespace
}  // namespace brood::testing
