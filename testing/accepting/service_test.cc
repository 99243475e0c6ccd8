// SPDX-License-Identifier: Apache-2.0

// A server whose listener a service manager opens, and which reports to it when
// it is ready; and a server whose clients connect by a unix socket.

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/io.h"
#include "brood/net/socket.h"
#include "brood/server/handler.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/fake_service_manager.h"
#include "brood/testing/support/short_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using ::testing::HasSubstr;

class ServiceTest : public StrategyTest {
 protected:
  // Returns a listener that blocks and is inheritable, as other programs open
  // them.
  static net::Socket ForeignListener(const net::Endpoint& endpoint) {
    net::Socket socket = net::Socket::Adopt(
        ::socket(endpoint.address()->sa_family, SOCK_STREAM, 0));
    EXPECT_EQ(bind(socket.fd(), endpoint.address(), endpoint.address_length()),
              0);
    EXPECT_EQ(listen(socket.fd(), 64), 0);
    return socket;
  }

  const ShortDir dir_;
};

TEST_P(ServiceTest, ServesAUnixSocket) {
  const net::Endpoint endpoint = dir_.Socket("s");
  TestServer::Setup setup;
  setup.options.listen = {endpoint.ToString()};
  setup.options.deadlines.connection = absl::Minutes(1);
  setup.options.deadlines.peer = absl::Seconds(10);
  setup.handler = [endpoint](net::Connection& connection) {
    EXPECT_EQ(connection.local(), endpoint);
    EXPECT_EQ(connection.peer().ToString(), "unix:");
    char byte;
    while (net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok()) {
      EXPECT_THAT(
          net::WriteFull(connection.socket(), absl::string_view(&byte, 1)),
          IsOk());
    }
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  EXPECT_EQ(server->endpoint(), endpoint);
  for (int i = 0; i < 50; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Echo("hello"), IsOk());
    ASSERT_THAT(client.ShutdownWrite(), IsOk());
    ASSERT_THAT(client.ExpectEof(), IsOk());
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 50u);
}

// The kernel counts the clients in the queue of a unix socket in another way.
TEST_P(ServiceTest, ServesClientsThatWaitOnAUnixSocketWhenItStops) {
  constexpr int kClients = 150;
  TestServer::Setup setup;
  setup.options.listen = {dir_.Socket("s").ToString()};
  setup.options.max_connections = 1;
  setup.options.drain_grace = absl::Seconds(30);  // on a busy machine
  setup.options.pool.workers = 1;
  setup.handler = [](net::Connection& connection) {
    char byte;
    return net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok() &&
                   net::WriteFull(connection.socket(), "y").ok()
               ? ExitCode::kServed
               : ExitCode::kPeerLost;
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(ConnectTo(*server));
  server->Signal(SIGTERM);
  ASSERT_THAT(server->AwaitEvent("draining"), IsOk());
  for (TestClient& client : clients) {
    ASSERT_THAT(client.Send("x"), IsOk());
    ASSERT_THAT(client.ReadUntilEof(), IsOkAndHolds("y"));
    client.Close();
  }
  const auto report = server->AwaitExit();
  EXPECT_EQ(report.totals.ended_ok, static_cast<uint64_t>(kClients));
  ExpectClean(report);
}

TEST_P(ServiceTest, KillsAUnixClientsProcessWhenItsTimeIsUp) {
  TestServer::Setup setup;
  setup.options.listen = {dir_.Socket("s").ToString()};
  setup.options.deadlines.connection = absl::Milliseconds(200);
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.ExpectEof(), IsOk());
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
}

// R06: a listener that was inherited may block. A server that waited in
// accept(), where no signal wakes it, would not stop.
TEST_P(ServiceTest, StopsAtOnceWithAListenerThatUsedToBlock) {
  net::Socket listener = ForeignListener(*net::Endpoint::Parse("127.0.0.1:0"));
  TestServer::Setup setup;
  setup.options.listen = {"inherited"};
  setup.options.pool.workers = 4;
  setup.inherited = {listener.fd()};
  const auto server = StartServer(std::move(setup));
  listener.Close();
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Echo("hello"), IsOk());
  client.Close();
  ASSERT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 0}}), IsOk());
  const net::Instant asked = net::Now();
  StopAndExpectClean(*server);
  EXPECT_LT(net::TimeUntil(net::Now(), asked), absl::Seconds(3));
}

// R46: a client can connect as soon as the server has reported that it is
// ready.
TEST_P(ServiceTest, AcceptsConnectionsWhenItReportsThatItIsReady) {
  const net::Endpoint notify = dir_.Socket("notify");
  const FakeServiceManager manager(notify);
  constexpr int kStarts = 40;  // with each of five strategies
  for (int i = 0; i < kStarts; ++i) {
    TestServer::Setup setup;
    setup.options.listen = {"127.0.0.1:0", dir_.Socket("s").ToString()};
    setup.options.notify_socket = std::string(notify.path());
    // Connects as soon as the server is ready, while StartServer() may wait.
    const pid_t notified = fork();
    if (notified == 0) {
      const bool ready = manager.NextWord() == "READY=1";
      auto client = TestClient::Connect(dir_.Socket("s"));
      _exit(ready && client.ok() && client->Echo("hello").ok() ? 0 : 1);
    }
    const auto server = StartServer(std::move(setup));
    int status = -1;
    ASSERT_EQ(waitpid(notified, &status, 0), notified);
    ASSERT_EQ(status, 0) << "start " << i;
    for (size_t each : {0, 1}) {
      auto client = TestClient::Connect(server->endpoint(each));
      ASSERT_THAT(client, IsOk()) << "start " << i;
      ASSERT_THAT(client->Echo("hello"), IsOk());
    }
    server->Signal(SIGTERM);
    ASSERT_EQ(manager.NextWord(), "STOPPING=1");
    ExpectClean(server->AwaitExit());
  }
}

// R47: a wrong descriptor is reported by its number, and nothing stays open
// (which ServerTest checks).
TEST_P(ServiceTest, DoesNotStartWithASocketThatDoesNotListen) {
  const net::Socket wrong = net::Socket::Adopt(socket(AF_INET, SOCK_STREAM, 0));
  TestServer::Setup setup;
  setup.options.strategy = row().strategy;
  setup.options.listen = {"inherited"};
  setup.inherited = {wrong.fd()};
  EXPECT_THAT(TestServer::Start(std::move(setup)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(absl::StrCat("fd:", wrong.fd(),
                                              " is not a "
                                              "listening stream socket"))));
}

INSTANTIATE_TEST_SUITE_P(With, ServiceTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
