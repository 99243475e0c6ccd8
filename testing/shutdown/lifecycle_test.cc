// SPDX-License-Identifier: Apache-2.0

// How a server stops: it serves clients in the queue, lets children finish, and
// then terminates and kills them; and how a stop is requested.

#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using net::Instant;
using server::ExitCode;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class LifecycleTest : public StrategyTest {
 protected:
  // Connects clients, and waits until each has its child.
  std::vector<TestClient> Hold(const TestServer& server, int count) {
    std::vector<TestClient> clients;
    for (int i = 0; i < count; ++i) {
      clients.push_back(ConnectTo(server));
      EXPECT_THAT(clients.back().Echo("held"), IsOk());
    }
    return clients;
  }

  void DrainsTheKernelsQueue(size_t listeners, int cap);
  void HeedsTheSecondRequest(int signal);
  void StopsInAFlood(int cap);

  void RecordDuration(const std::string& what, absl::Duration length) {
    RecordProperty(what + "_us",
                   std::to_string(absl::ToInt64Microseconds(length)));
  }
};

void LifecycleTest::DrainsTheKernelsQueue(size_t listeners, int cap) {
  constexpr size_t kClients = 50;
  TestServer::Setup setup;
  setup.options.listen.assign(listeners, "127.0.0.1:0");
  setup.options.max_connections = cap;
  setup.options.pool.workers = 60;
  const auto server = StartServer(std::move(setup));

  Freeze(server->pid());
  std::vector<TestClient> clients;
  for (size_t i = 0; i < kClients; ++i) {
    auto client = TestClient::Connect(server->endpoint(i % listeners));
    ASSERT_THAT(client, IsOk());
    ASSERT_THAT(client->Send("request"), IsOk());
    ASSERT_THAT(client->ShutdownWrite(), IsOk());
    clients.push_back(*std::move(client));
  }
  server->Signal(SIGTERM);
  server->Signal(SIGCONT);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds("request"));
    client.Close();
  }
  const TestServer::Report report = server->AwaitExit();
  ExpectClean(report);
  EXPECT_EQ(report.totals.ended_ok, kClients);
}

TEST_P(LifecycleTest, ServesTheKernelsQueueWhenItDrains) {
  DrainsTheKernelsQueue(/*listeners=*/1, /*cap=*/1000);
}

TEST_P(LifecycleTest, ServesTheQueueOfEachListenerWhenItDrains) {
  DrainsTheKernelsQueue(/*listeners=*/2, /*cap=*/1000);
}

TEST_P(LifecycleTest, ServesAQueueLongerThanTheCapWhenItDrains) {
  DrainsTheKernelsQueue(/*listeners=*/1, /*cap=*/8);
  DrainsTheKernelsQueue(/*listeners=*/2, /*cap=*/8);
}

// The promise is an end between the grace and the grace + 200 ms. This is added
// for a busy machine.
constexpr absl::Duration kSlack = absl::Seconds(kCostOfFork);

TEST_P(LifecycleTest, KillsChildrenThatDoNotEndAfterTheGrace) {
  TestServer::Setup setup;
  setup.options.drain_grace = absl::Seconds(1);
  setup.handler = [](net::Connection& connection) {
    sigset_t sigterm;
    sigemptyset(&sigterm);
    sigaddset(&sigterm, SIGTERM);
    sigprocmask(SIG_BLOCK, &sigterm, nullptr);
    char byte;
    while (net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok() &&
           net::WriteFull(connection.socket(), {&byte, 1}).ok()) {
    }
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  const std::vector<TestClient> clients = Hold(*server, 16);
  const Instant start = net::Now();
  const TestServer::Report report = StopAndExpectClean(*server);
  const absl::Duration taken = absl::FromChrono(net::Now() - start);
  EXPECT_GE(taken, absl::Seconds(1));
  EXPECT_LE(taken, absl::Milliseconds(1200) + kSlack);
  RecordDuration("stopped_after", taken);
  EXPECT_EQ(report.totals.killed, 16u);
  EXPECT_EQ(report.totals.crashed, 0u);
  EXPECT_THAT(EventsOf(report.log, "terminating", {{"brood.running", 16}}),
              SizeIs(1));
  EXPECT_THAT(EventsOf(report.log, "killing", {{"brood.running", 16}}),
              SizeIs(1));
}

TEST_P(LifecycleTest, TerminatesStoppedChildren) {
  TestServer::Setup setup;
  setup.options.drain_grace = absl::Milliseconds(200);
  const auto server = StartServer(std::move(setup));
  const std::vector<TestClient> clients = Hold(*server, 10);
  for (pid_t child : server->children()) Freeze(child);
  const Instant start = net::Now();
  const TestServer::Report report = StopAndExpectClean(*server);
  const absl::Duration taken = absl::FromChrono(net::Now() - start);
  EXPECT_LE(taken, absl::Milliseconds(400) + kSlack);
  RecordDuration("stopped_after", taken);
  EXPECT_EQ(report.totals.killed, 10u);
  // They were continued so that SIGTERM reached them, and not killed at once.
  EXPECT_THAT(EventsOf(report.log, "ended", {{"brood.exit.signal", SIGTERM}}),
              Not(IsEmpty()));
}

void LifecycleTest::HeedsTheSecondRequest(int signal) {
  TestServer::Setup setup;
  setup.options.drain_grace = absl::Minutes(1);
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients = Hold(*server, 8);
  server->Signal(signal);
  EXPECT_THAT(server->AwaitEvent("draining", {{"brood.running", 8}}), IsOk());
  for (TestClient& client : clients) {
    EXPECT_THAT(client.Echo("still served"), IsOk());
  }
  clients.pop_back();  // its child ends in order
  EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 0}}), IsOk());
  const Instant start = net::Now();
  server->Signal(signal);
  const TestServer::Report report = server->AwaitExit();
  ExpectClean(report);
  EXPECT_LE(absl::FromChrono(net::Now() - start),
            absl::Milliseconds(200) + kSlack);
  EXPECT_EQ(report.totals.ended_ok, 1u);
  EXPECT_EQ(report.totals.killed, 7u);
}

TEST_P(LifecycleTest, LetsConnectionsFinishAtSigtermAndEndsThemAtTheSecond) {
  HeedsTheSecondRequest(SIGTERM);
}

TEST_P(LifecycleTest, LetsConnectionsFinishAtSigintAndEndsThemAtTheSecond) {
  HeedsTheSecondRequest(SIGINT);
}

server::TcpServer* to_drain = nullptr;

TEST_P(LifecycleTest, DrainsAtARequestFromASignalHandler) {
  TestServer::Setup setup;
  setup.options.take_signals = false;
  setup.run = [](server::TcpServer& server) {
    to_drain = &server;
    const auto previous =
        signal(SIGUSR1, [](int) { to_drain->RequestDrain(); });
    absl::Status stopped = server.Run();
    signal(SIGUSR1, previous);
    return stopped;
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients = Hold(*server, 3);
  server->Signal(SIGUSR1);
  EXPECT_THAT(server->AwaitEvent("draining", {{"brood.running", 3}}), IsOk());
  for (TestClient& client : clients) {
    EXPECT_THAT(client.Echo("still served"), IsOk());
  }
  clients.clear();
  const TestServer::Report report = server->AwaitExit();
  ExpectClean(report);
  EXPECT_EQ(report.totals.ended_ok, 3u);
}

TEST_P(LifecycleTest, DrainsAtARequestFromTheLoopOfTheEmbedder) {
  TestServer::Setup setup;
  setup.options.take_signals = false;
  setup.run = [](server::TcpServer& server) {
    bool requested = false;
    for (;;) {
      const absl::StatusOr<bool> goes_on = server.Step(absl::Seconds(1));
      if (!goes_on.ok()) return goes_on.status();
      if (!*goes_on) return absl::OkStatus();
      if (server.totals().accepted == 3 && !requested) {
        server.RequestDrain();
        requested = true;
      }
    }
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients = Hold(*server, 3);
  clients.clear();
  const TestServer::Report report = server->AwaitExit();
  ExpectClean(report);
  EXPECT_EQ(report.totals.ended_ok, 3u);
}

TEST_P(LifecycleTest, CountsTwoRequestsInOneTurnAsTwo) {
  TestServer::Setup setup;
  setup.options.take_signals = false;
  setup.options.drain_grace = absl::Hours(1);
  setup.run = [](server::TcpServer& server) {
    to_drain = &server;
    const auto previous = signal(SIGUSR1, [](int) {
      to_drain->RequestDrain();
      to_drain->RequestDrain();
    });
    absl::Status stopped = server.Run();
    signal(SIGUSR1, previous);
    return stopped;
  };
  setup.stop_margin = absl::Seconds(10) - setup.options.drain_grace;
  const auto server = StartServer(std::move(setup));
  const std::vector<TestClient> clients = Hold(*server, 3);
  server->Signal(SIGUSR1);
  const TestServer::Report report = server->AwaitExit();
  ExpectClean(report);
  EXPECT_EQ(report.totals.killed, 3u);
}

// Clients that connect again as soon as they are served, until they are
// refused.
class Flood {
 public:
  Flood(const net::Endpoint& server, int clients) {
    for (int i = 0; i < clients; ++i) {
      threads_.emplace_back([this, server] { Press(server); });
    }
  }
  ~Flood() {
    for (std::thread& thread : threads_) thread.join();
  }

  int served() const { return served_; }

 private:
  void Press(const net::Endpoint& server) {
    for (;;) {
      absl::StatusOr<TestClient> client = TestClient::Connect(server);
      if (!client.ok()) return;
      // A client that connects while the queue is closed may be reset.
      if (client->Echo("again").ok()) ++served_;
    }
  }

  std::atomic<int> served_{0};
  std::vector<std::thread> threads_;
};

// If `cap` is smaller than the number of clients, the kernel's queue is never
// empty by itself.
void LifecycleTest::StopsInAFlood(int cap) {
  TestServer::Setup setup;
  setup.options.max_connections = cap;
  setup.options.log.level = server::LogLevel::kWarning;
  // If the server waited for the end of the flood, it would accept for 30 s.
  setup.options.drain_grace = absl::Seconds(30);
  const auto server = StartServer(std::move(setup));
  const net::Endpoint endpoint = server->endpoint();
  absl::Duration taken;
  {
    const Flood flood(endpoint, 8);
    ASSERT_TRUE(Await([&] { return flood.served() >= 100 / kCostOfFork; }));
    const Instant start = net::Now();
    server->Signal(SIGTERM);
    EXPECT_TRUE(Await([&] {
      return absl::IsUnavailable(TestClient::Connect(endpoint).status());
    }));
    taken = absl::FromChrono(net::Now() - start);
  }
  EXPECT_LE(taken, absl::Milliseconds(50) + 2 * kSlack);
  RecordDuration("listener_closed_after", taken);
  ExpectClean(server->AwaitExit());
}

TEST_P(LifecycleTest, StopsThoughClientsKeepConnecting) {
  StopsInAFlood(/*cap=*/1000);
}

TEST_P(LifecycleTest, StopsThoughMoreClientsThanTheCapKeepConnecting) {
  StopsInAFlood(/*cap=*/2);
}

// The server ends each connection first, so that its side stays in TIME_WAIT.
TEST_P(LifecycleTest, TakesItsPortAgainAtOnceAfterARestart) {
  TestServer::Setup setup;
  setup.handler = [](net::Connection& connection) {
    return net::WriteFull(connection.socket(), "bye").ok()
               ? ExitCode::kServed
               : ExitCode::kPeerLost;
  };
  for (int restart = 0; restart <= 20; ++restart) {
    const auto server = StartServer(setup);
    setup.options.listen = {server->endpoint().ToString()};
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("bye"));
    StopAndExpectClean(*server);
  }
}

INSTANTIATE_TEST_SUITE_P(With, LifecycleTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
