// SPDX-License-Identifier: Apache-2.0

// Many clients at the same time: each has a process of its own, no client
// delays another, and no more are served than the cap allows.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
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
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

class ConcurrencyTest : public StrategyTest {};

// Returns how often a queue of this network namespace was full. In the sandbox
// the test has a namespace of its own.
int64_t ListenOverflows() {
  const std::vector<std::string> lines =
      absl::StrSplit(ReadProcFile("/proc/net/netstat"), '\n');
  const std::vector<std::string> names = absl::StrSplit(lines.at(0), ' ');
  const std::vector<std::string> values = absl::StrSplit(lines.at(1), ' ');
  const auto at = static_cast<size_t>(
      std::find(names.begin(), names.end(), "ListenOverflows") - names.begin());
  int64_t count = -1;
  EXPECT_TRUE(absl::SimpleAtoi(values.at(at), &count));
  return count;
}

TEST_P(ConcurrencyTest, ServesFiveHundredClientsAtOnceByAsManyProcesses) {
  constexpr int kClients = 500 / kCostOfFork;
  TestServer::Setup setup;
  setup.options.max_connections = kClients;
  setup.options.pool.workers = kClients;
  setup.handler = AnswerWithPid;
  const auto server = StartServer(std::move(setup));

  std::vector<TestClient> clients = ConnectMany(*server, kClients);
  std::set<pid_t> pids;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kClients; ++i) {
      ASSERT_THAT(clients[i].Send(absl::StrFormat("ask%05d", i)), IsOk());
    }
    for (int i = 0; i < kClients; ++i) {
      ASSERT_THAT(clients[i].ExpectReply(absl::StrFormat("ask%05d", i)),
                  IsOk());
      const absl::StatusOr<std::string> text = clients[i].ReadExactly(10);
      pid_t pid;
      ASSERT_TRUE(text.ok() && absl::SimpleAtoi(*text, &pid)) << text.status();
      pids.insert(pid);
    }
  }
  EXPECT_THAT(pids, SizeIs(kClients)) << "two clients shared a process";
  EXPECT_THAT(server->children(), IsSupersetOf(pids));
  ExpectRest(*server, /*busy=*/kClients);

  for (TestClient& client : clients) {
    EXPECT_THAT(client.ShutdownWrite(), IsOk());
    EXPECT_THAT(client.ExpectEof(), IsOk());
    client.Close();
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, uint64_t{kClients});
}

TEST_P(ConcurrencyTest, SendsAHalfClosedClientItsWholeReply) {
  constexpr int kCopies = 64;
  TestServer::Setup setup;
  setup.handler = [](net::Connection& connection) {
    std::string request;
    char piece[4096];
    for (;;) {
      const auto got =
          net::ReadSome(connection.socket(), absl::MakeSpan(piece));
      if (!got.ok()) return ExitCode::kPeerLost;
      if (*got == 0) break;
      request.append(piece, *got);
    }
    for (int i = 0; i < kCopies; ++i) {
      if (!net::WriteFull(connection.socket(), request).ok()) {
        return ExitCode::kPeerLost;
      }
    }
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));

  std::vector<TestClient> clients = ConnectMany(*server, 100);
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSERT_THAT(clients[i].Send(std::string(1000, static_cast<char>(i))),
                IsOk());
    ASSERT_THAT(clients[i].ShutdownWrite(), IsOk());
  }
  for (size_t i = 0; i < clients.size(); ++i) {
    EXPECT_THAT(
        clients[i].ReadUntilEof(),
        IsOkAndHolds(std::string(size_t{1000} * kCopies, static_cast<char>(i))))
        << "client " << i;
    clients[i].Close();
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 100u);
}

// A sibling that had inherited the connection would keep it open. The handler
// calls _exit because a shutdown() of the connection, which a child does when
// its handler returns, would end it in all processes, and hide that.
TEST_P(ConcurrencyTest, EndsAConnectionThoughSiblingsOfItsChildLive) {
  TestServer::Setup setup;
  setup.handler = [](net::Connection& connection) {
    char byte;
    if (net::ReadSome(connection.socket(), absl::MakeSpan(&byte, 1)).ok()) {
      _exit(0);
    }
    return ExitCode::kPeerLost;
  };
  setup.options.pool.workers = 40;
  const auto server = StartServer(std::move(setup));

  std::vector<TestClient> clients = ConnectMany(*server, 40);
  EXPECT_THAT(AwaitServing(*server, 40), SizeIs(40));
  absl::Duration slowest;
  for (TestClient& client : clients) {
    const net::Instant start = net::Now();
    ASSERT_THAT(client.Send("x"), IsOk());
    EXPECT_THAT(client.ExpectEof(), IsOk());
    slowest = std::max(slowest, absl::FromChrono(net::Now() - start));
  }
  // 50 ms is promised; the rest is for a busy machine. A sibling that had the
  // connection would keep it open until its own end, or without a limit.
  EXPECT_LT(slowest, absl::Milliseconds(500));
  RecordProperty("slowest_end_us",
                 std::to_string(absl::ToInt64Microseconds(slowest)));
  clients.clear();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 40u);
}

TEST_P(ConcurrencyTest, NeverExceedsTheCapAndServesWaitingClientsInOrder) {
  constexpr size_t kCap = 40;
  constexpr int kClients = 240;
  struct Most {
    std::atomic<uint64_t> in_the_totals;
    std::atomic<size_t> in_the_kernel;
  };
  Shared<Most> most;
  TestServer::Setup setup;
  setup.options.max_connections = static_cast<int>(kCap);
  setup.options.pool.workers = static_cast<int>(kCap);
  setup.handler = AnswerWithPid;
  // Measures after each turn of the loop, which misses nothing: children are
  // created only within a turn.
  setup.run = [&](server::TcpServer& server) {
    for (;;) {
      const absl::StatusOr<bool> goes_on =
          server.Step(absl::InfiniteDuration());
      if (!goes_on.ok()) return goes_on.status();
      if (!*goes_on) return absl::OkStatus();
      most->in_the_totals =
          std::max(most->in_the_totals.load(), server.totals().running);
      most->in_the_kernel =
          std::max(most->in_the_kernel.load(), ChildrenOf("self").size());
    }
  };
  const auto server = StartServer(std::move(setup));

  std::vector<TestClient> clients = ConnectMany(*server, kClients);
  for (TestClient& client : clients) {
    ASSERT_THAT(client.Send("question"), IsOk());
  }
  // The first kCap clients are served. The others wait, and get nothing.
  for (size_t i = 0; i < kCap; ++i) {
    ASSERT_THAT(clients[i].ExpectReply("question"), IsOk());
  }
  ExpectRest(*server, /*busy=*/kCap);

  const absl::Duration busy_before = CpuTimeOf(server->pid());
  LetPass(absl::Seconds(1));  // the claim is about a length of time
  const absl::Duration busy = CpuTimeOf(server->pid()) - busy_before;
  EXPECT_LT(busy, kCostOfFork * absl::Milliseconds(20))
      << "more than 2 % while full";
  RecordProperty("cpu_permille_while_full",
                 std::to_string(absl::ToInt64Milliseconds(busy)));

  for (size_t i = 0; i < clients.size(); ++i) {
    if (i >= kCap) {
      ASSERT_THAT(clients[i].ExpectReply("question"), IsOk());
    }
    clients[i].Close();
  }
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok + report.totals.ended_error, 240u);
  EXPECT_EQ(report.totals.shed, 0u);
  EXPECT_EQ(most->in_the_totals, kCap);
  EXPECT_GE(most->in_the_kernel, kCap);
  EXPECT_LE(most->in_the_kernel, kCap + row().most_waiting(server->options()));
}

TEST_P(ConcurrencyTest, ServesClientsInTheOrderInWhichTheyConnected) {
  TestServer::Setup setup;
  setup.options.max_connections = 2;
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients = ConnectMany(*server, 50);
  std::vector<std::string> expected;
  for (TestClient& client : clients) {
    expected.push_back(client.endpoint().ToString());
  }
  clients.clear();  // the echo handler ends with its client
  const TestServer::Report report = StopAndExpectClean(*server);
  std::vector<std::string> order;
  for (const LoggedEvent& forked : ServingEvents(report.log)) {
    order.push_back(absl::StrCat(forked.Text("client.address"), ":",
                                 forked.Number("client.port")));
  }
  EXPECT_EQ(order, expected);
}

// By default the kernel's queue is as long as the machine allows, so that the
// first packet of no client is dropped, which would cost a second.
TEST_P(ConcurrencyTest, ServesClientsThatConnectWhileTheServerIsStopped) {
  constexpr int kClients = 512 / kCostOfFork;
  TestServer::Setup setup;
  setup.options.max_connections = kClients;
  setup.options.pool.workers = 8;
  setup.options.log.level = server::LogLevel::kError;
  const auto server = StartServer(std::move(setup));
  const int64_t overflows_before = ListenOverflows();
  Freeze(server->pid());
  const net::Instant start = net::Now();
  std::vector<TestClient> clients = ConnectMany(*server, kClients);
  RecordProperty("ms_to_connect_all",
                 static_cast<int>(absl::ToInt64Milliseconds(
                     absl::FromChrono(net::Now() - start))));
  LetPass(absl::Milliseconds(300));
  server->Signal(SIGCONT);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.Echo("hello"), IsOk());
    client.Close();
  }
  EXPECT_EQ(ListenOverflows(), overflows_before);
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, uint64_t{kClients});
}

TEST_P(ConcurrencyTest, ServesClientsThatOverflowAShortQueueLater) {
  constexpr int kClients = 64;
  TestServer::Setup setup;
  setup.options.backlog = 16;
  setup.options.log.level = server::LogLevel::kError;
  const auto server = StartServer(std::move(setup));
  const int64_t overflows_before = ListenOverflows();
  Freeze(server->pid());
  std::vector<std::thread> threads;
  std::atomic<int> served{0};
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back([&] {
      auto client = TestClient::Connect(server->endpoint());
      if (client.ok() && client->Echo("hello").ok()) ++served;
    });
  }
  EXPECT_TRUE(Await([&] { return ListenOverflows() > overflows_before; }));
  server->Signal(SIGCONT);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, kClients);
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 64u);
}

// Every slot is taken, and clients wait for the next free one in two queues.
TEST_P(ConcurrencyTest, DoesNotStarveOneListenerForAnother) {
  for (size_t crowded : {0, 1}) {
    TestServer::Setup setup;
    setup.options.listen = {"127.0.0.1:0", "127.0.0.1:0"};
    setup.options.max_connections = 1;
    const auto server = StartServer(std::move(setup));
    std::vector<TestClient> crowd;
    for (int i = 0; i < 10; ++i) {
      crowd.push_back(*TestClient::Connect(server->endpoint(crowded)));
      ASSERT_THAT(crowd.back().Send("crowd"), IsOk());
    }
    ASSERT_THAT(crowd[0].ExpectReply("crowd"), IsOk());  // it has the slot
    auto lonely = TestClient::Connect(server->endpoint(1 - crowded));
    ASSERT_THAT(lonely, IsOk());
    ASSERT_THAT(lonely->Send("lonely"), IsOk());
    // A slot becomes free, and the other queue must be next. (The second client
    // is for a server that was already accepting from this queue.)
    crowd[0].Close();
    crowd[1].Close();
    EXPECT_THAT(lonely->ExpectReply("lonely"), IsOk());
    crowd.clear();
    lonely->Close();
    StopAndExpectClean(*server);
  }
}

INSTANTIATE_TEST_SUITE_P(With, ConcurrencyTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
