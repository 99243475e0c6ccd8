// SPDX-License-Identifier: Apache-2.0

// Deadlines: the child of a client that is slow, silent or gone is killed,
// whatever that child does with its signals, and no other client is delayed.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/totals.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using server::KillReason;

class DeadlinesTest : public ServerTest,
                      public ::testing::WithParamInterface<const char*> {
 protected:
  static TestServer::Setup SetupWith() {
    TestServer::Setup setup;
    setup.options.strategy = *server::ParseStrategyKind(GetParam());
    return setup;
  }
  static uint64_t KilledFor(const TestServer::Report& report,
                            KillReason reason) {
    return report.totals.killed_for[static_cast<size_t>(reason)];
  }
  // Waits until `client` has lost its connection, and returns how long.
  static absl::Duration TimeToLose(TestClient& client) {
    const net::Instant start = net::Now();
    const absl::Status end = client.ExpectEof();
    EXPECT_TRUE(end.ok() || absl::IsUnavailable(end)) << end;
    return absl::FromChrono(net::Now() - start);
  }
};

TEST_P(DeadlinesTest, KillsChildrenThatSpinWithAllSignalsBlockedInTime) {
  constexpr int kClients = 16;
  constexpr absl::Duration kLimit = absl::Milliseconds(500);
  TestServer::Setup setup = SetupWith();
  setup.options.deadlines.connection = kLimit;
  setup.handler = [](net::Connection& /*connection*/) -> ExitCode {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    for (volatile int spin = 0;; spin = spin + 1) {
    }
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients;
  const net::Instant start = net::Now();
  for (int i = 0; i < kClients; ++i) clients.push_back(ConnectTo(*server));
  for (TestClient& client : clients) TimeToLose(client);
  const absl::Duration all_gone = absl::FromChrono(net::Now() - start);
  EXPECT_GE(all_gone, kLimit);
  RecordProperty("all gone after ms",
                 static_cast<int>(absl::ToInt64Milliseconds(all_gone)));
  // Allows for a machine that must run sixteen spinning processes, and more.
  EXPECT_LE(all_gone, 10 * kLimit);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.killed, static_cast<uint64_t>(kClients));
  EXPECT_EQ(KilledFor(report, KillReason::kConnection),
            static_cast<uint64_t>(kClients));
}

TEST_P(DeadlinesTest, KillsAStoppedChildInTime) {
  TestServer::Setup setup = SetupWith();
  setup.options.deadlines.connection = absl::Milliseconds(300);
  setup.handler = [](net::Connection& /*connection*/) {
    raise(SIGSTOP);
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_LE(TimeToLose(client), absl::Seconds(5));
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
}

TEST_P(DeadlinesTest, KillsSilentClientsSoThatAnotherIsServed) {
  constexpr int kCap = 8;
  TestServer::Setup setup = SetupWith();
  setup.options.max_connections = kCap;
  setup.options.pool.workers = kCap;
  setup.options.deadlines.first_byte = absl::Milliseconds(300);
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> silent;
  for (int i = 0; i < kCap; ++i) silent.push_back(ConnectTo(*server));
  EXPECT_THAT(server->AwaitEvents(kCap, "handling"), IsOk());
  const net::Instant start = net::Now();
  TestClient speaks = ConnectTo(*server);
  EXPECT_THAT(speaks.Echo("hello"), IsOk());
  EXPECT_LE(absl::FromChrono(net::Now() - start), absl::Seconds(5));
  // After its first byte a client may be silent without a limit.
  LetPass(absl::Milliseconds(600));
  EXPECT_THAT(speaks.Echo("still here"), IsOk());
  speaks.Close();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(KilledFor(report, KillReason::kFirstByte),
            static_cast<uint64_t>(kCap));
  EXPECT_EQ(report.totals.ended_ok, 1u);
}

TEST_P(DeadlinesTest, KeepsAClientThatKeepsSending) {
  TestServer::Setup setup = SetupWith();
  setup.options.deadlines.idle = absl::Milliseconds(400);
  const auto server = StartServer(std::move(setup));
  TestClient talks = ConnectTo(*server);
  TestClient falls_silent = ConnectTo(*server);
  EXPECT_THAT(falls_silent.Echo("hello"), IsOk());
  for (int i = 0; i < 12; ++i) {
    LetPass(absl::Milliseconds(100));
    EXPECT_THAT(talks.Echo("x"), IsOk());
  }
  TimeToLose(falls_silent);
  EXPECT_THAT(talks.Echo("x"), IsOk());
  talks.Close();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(KilledFor(report, KillReason::kIdle), 1u);
  EXPECT_EQ(report.totals.ended_ok, 1u);
}

TEST_P(DeadlinesTest, KeepsAHandlerThatKeepsSending) {
  TestServer::Setup setup = SetupWith();
  setup.options.deadlines.idle = absl::Milliseconds(400);
  setup.handler = [](net::Connection& connection) {
    for (int i = 0; i < 12; ++i) {
      LetPass(absl::Milliseconds(100));
      if (!net::WriteFull(connection.socket(), "x").ok()) {
        return ExitCode::kPeerLost;
      }
    }
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds(std::string(12, 'x')));
  client.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
}

TEST_P(DeadlinesTest, KillsNoShortConnection) {
  TestServer::Setup setup = SetupWith();
  setup.options.deadlines.first_byte = absl::Seconds(5);
  setup.options.deadlines.idle = absl::Seconds(5);
  setup.options.deadlines.connection = absl::Seconds(5);
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 200; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Echo("x"), IsOk());
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 200u);
}

// The kernel ends the connection of a peer that acknowledges no data. If it
// does so too late, the parent kills the child.
TEST_P(DeadlinesTest, EndsAConnectionWhosePeerReadsNothing) {
  TestServer::Setup setup = SetupWith();
  setup.options.deadlines.peer = absl::Seconds(1);
  setup.handler = [](net::Connection& connection) {
    const std::string bytes(64 << 10, 'x');
    while (net::WriteFull(connection.socket(), bytes).ok()) {
    }
    return ExitCode::kPeerLost;
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(server->AwaitEvent("ended"), IsOk());
  client.Close();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_error + KilledFor(report, KillReason::kPeer),
            1u);
}

// The handler resets TCP_USER_TIMEOUT, so the parent's deadline ends the first
// connection. The client of the second one reads a little from time to time,
// and its connection stays.
TEST_P(DeadlinesTest, KillsAChildWhosePeerReadsNothingThoughItResetTheTimeout) {
  TestServer::Setup setup = SetupWith();
  setup.options.deadlines.peer = absl::Seconds(1);
  setup.handler = [](net::Connection& connection) {
    const int never = 0;
    setsockopt(connection.fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &never,
               sizeof(never));
    const std::string bytes(64 << 10, 'x');
    while (net::WriteFull(connection.socket(), bytes).ok()) {
    }
    return ExitCode::kPeerLost;
  };
  const auto server = StartServer(std::move(setup));
  TestClient takes_little = ConnectTo(*server);
  TestClient takes_nothing = ConnectTo(*server);
  const int64_t lost = takes_nothing.endpoint().port();
  absl::Status one_is_lost = absl::UnknownError("");
  for (int i = 0; i < 200 && !one_is_lost.ok(); ++i) {
    ASSERT_THAT(takes_little.ReadExactly(256 << 10), IsOk());
    one_is_lost =
        server
            ->AwaitEvent("expired",
                         {{"client.port", lost}, {"brood.kill.reason", "peer"}},
                         absl::Milliseconds(50))
            .status();
  }
  EXPECT_THAT(one_is_lost, IsOk());
  // Waits for the event before the client closes, which would end it too.
  EXPECT_THAT(server->AwaitEvent("ended", {{"client.port", lost},
                                           {"brood.exit.signal", SIGKILL}}),
              IsOk());
  takes_nothing.Close();
  EXPECT_THAT(takes_little.ReadExactly(256 << 10), IsOk());
  takes_little.Close();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(KilledFor(report, KillReason::kPeer), 1u);
  EXPECT_EQ(report.totals.ended_error, 1u);
}

INSTANTIATE_TEST_SUITE_P(EachStrategy, DeadlinesTest,
                         ::testing::Values("fork", "spares", "pool", "zygote"),
                         [](const auto& row) { return row.param; });

}  // namespace
}  // namespace brood::testing
