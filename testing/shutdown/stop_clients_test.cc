// SPDX-License-Identifier: Apache-2.0
//
// What a stop means for clients: clients that have connected are served, later
// ones are refused, and no client is reset that could have been refused. The
// socket stops listening, whichever process has a copy of the listener.

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "brood/testing/support/short_dir.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class StopClientsTest : public StrategyTest {
 protected:
  static TestServer::Setup EightSlotsSetup() {
    TestServer::Setup setup = QuietSetup();
    setup.options.max_connections = 8;
    setup.options.spares.min = 2;
    setup.options.spares.max = 8;
    setup.options.pool.workers = 8;
    return setup;
  }
};

INSTANTIATE_TEST_SUITE_P(With, StopClientsTest, EachStrategy(), StrategyName());

// Clients that connect, send a byte and wait for the reply, again and again
// until they are refused.
struct Clients {
  std::atomic<int> served{0};
  std::atomic<int> lost{0};

  void Run(const net::Endpoint& endpoint) {
    for (;;) {
      auto client = TestClient::Connect(endpoint);
      if (!client.ok()) return;
      if (!client->Echo("x").ok()) {
        ++lost;
        return;
      }
      ++served;
    }
  }
};

void StopUnderLoad(TestServer& server) {
  Clients clients;
  std::vector<std::thread> threads;
  for (int i = 0; i < 24; ++i) {
    threads.emplace_back([&] { clients.Run(server.endpoint()); });
  }
  EXPECT_TRUE(Await([&] { return clients.served >= 100; }));
  server.Signal(SIGTERM);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(clients.lost, 0);
}

TEST_P(StopClientsTest, ResetsNoClientOfABusyServer) {
  for (int run = 0; run < 10 / kCostOfFork + 1; ++run) {
    const auto server = StartServer(EightSlotsSetup());
    StopUnderLoad(*server);
    ExpectClean(server->AwaitExit());
  }
}

TEST_P(StopClientsTest, ResetsNoClientOfABusyServerOnAUnixSocket) {
  const ShortDir dir;
  for (int run = 0; run < 10 / kCostOfFork + 1; ++run) {
    TestServer::Setup setup = EightSlotsSetup();
    setup.options.listen = {dir.Socket("s").ToString()};
    const auto server = StartServer(std::move(setup));
    StopUnderLoad(*server);
    ExpectClean(server->AwaitExit());
  }
}

// The copy is that of a process that the embedder forked and does not manage.
TEST_P(StopClientsTest, EndsListeningThoughAForkOfTheEmbedderHasACopy) {
  TestServer::Setup setup = QuietSetup();
  setup.run = [](server::TcpServer& server) {
    const pid_t pid = fork();
    if (pid == 0) {
      for (;;) pause();
    }
    const absl::Status stopped = server.Run();
    const net::Endpoint endpoint = server.endpoints()[0];
    EXPECT_TRUE(absl::IsUnavailable(TestClient::Connect(endpoint).status()));
    server::Options again;
    again.listen = {endpoint.ToString()};
    again.strategy = row().strategy;
    again.log.level = server::LogLevel::kOff;
    EXPECT_THAT(server::TcpServer::Create(again, server::EchoHandler(64)),
                IsOk());
    kill(pid, SIGKILL);
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
    return stopped;
  };
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).Echo("x"), IsOk());
  StopAndExpectClean(*server);
}

TEST_P(StopClientsTest, LeavesAnInheritedListenerListening) {
  absl::StatusOr<net::Listener> kept =
      net::Listener::Listen(*net::Endpoint::Parse("127.0.0.1:0"), 16);
  ASSERT_THAT(kept, IsOk());
  TestServer::Setup setup = QuietSetup();
  setup.options.listen = {"inherited"};
  setup.inherited = {kept->fd()};
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).Echo("x"), IsOk());
  StopAndExpectClean(*server);
  EXPECT_THAT(TestClient::Connect(kept->endpoint()), IsOk());
  EXPECT_EQ(kept->queued(), 1);
}

}  // namespace
}  // namespace brood::testing
