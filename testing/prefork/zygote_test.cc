// SPDX-License-Identifier: Apache-2.0

// What a zygote promises beyond the other strategies: it can be killed at any
// moment, and its program may have threads, and more memory than fork could
// copy in time.

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/connection_report.h"
#include "brood/server/handler.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/load_clients.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "brood/testing/support/zygote_log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

class ZygoteTest : public ServerTest {
 protected:
  static TestServer::Setup ZygoteSetup() {
    TestServer::Setup setup;
    setup.options.strategy = server::StrategyKind::kZygote;
    return setup;
  }

  // Returns the pid of the zygote that serves from now on, or 0.
  static pid_t ExpectZygote(TestServer& server) {
    const absl::StatusOr<pid_t> pid = AwaitZygote(server);
    EXPECT_THAT(pid, IsOk());
    return pid.ok() ? *pid : 0;
  }
};

TEST_F(ZygoteTest, LosesNoClientAndNoStatusWhenKilledFiftyTimes) {
  const auto server = StartServer(ZygoteSetup());
  LoadClients load(server->endpoint(), /*clients=*/4);
  for (int kills = 0; kills < 50; ++kills) {
    const pid_t zygote = ExpectZygote(*server);
    ASSERT_NE(zygote, 0);
    const int before = load.served();
    ASSERT_TRUE(
        Await([&] { return load.served() >= before + 100 / kCostOfFork; }));
    ASSERT_EQ(kill(zygote, SIGKILL), 0);
  }
  EXPECT_GE(load.served(), 5000 / kCostOfFork - 50);
  load.Stop();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(load.failed(), 0) << load.first_failure();
  // Every client was served, and no status was lost.
  EXPECT_EQ(report.totals.ended_ok, static_cast<uint64_t>(load.served()));
  EXPECT_EQ(report.totals.accepted, report.totals.ended_ok);
}

TEST_F(ZygoteTest, LosesNoClientWhenKilledAsSoonAsItServes) {
  const auto server = StartServer(ZygoteSetup());
  LoadClients load(server->endpoint(), /*clients=*/4);
  // Often the zygote had no time to fork its standby. Then the supervisor
  // creates both.
  for (int kills = 0; kills < 30; ++kills) {
    const pid_t zygote = ExpectZygote(*server);
    ASSERT_NE(zygote, 0);
    kill(zygote, SIGKILL);
  }
  const int before = load.served();
  ASSERT_TRUE(Await([&] { return load.served() >= before + 100; }));
  load.Stop();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(load.failed(), 0) << load.first_failure();
  EXPECT_EQ(report.totals.ended_ok, report.totals.accepted);
}

TEST_F(ZygoteTest, LeavesItsChildrenServingAndReapedWhenKilled) {
  const auto server = StartServer(ZygoteSetup());
  const pid_t zygote = ExpectZygote(*server);
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Echo("before"), IsOk());
  ASSERT_EQ(kill(zygote, SIGKILL), 0);
  EXPECT_NE(ExpectZygote(*server), 0);
  EXPECT_THAT(client.Echo("after"), IsOk());
  client.Close();
  EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 0}}), IsOk());
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
}

TEST_F(ZygoteTest, HasAnotherStandbyWhenTheStandbyIsKilled) {
  const auto server = StartServer(ZygoteSetup());
  pid_t zygote = ExpectZygote(*server);
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(Await([&] { return server->children().size() == 2; }));
    for (const pid_t child : server->children()) {
      if (child != zygote) kill(child, SIGKILL);
    }
    TestClient client = ConnectTo(*server);
    EXPECT_THAT(client.Echo("hello"), IsOk());
  }
  // Now both are killed at once.
  for (const pid_t child : server->children()) kill(child, SIGKILL);
  EXPECT_NE(ExpectZygote(*server), 0);
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Echo("hello"), IsOk());
  client.Close();
  StopAndExpectClean(*server);
}

TEST_F(ZygoteTest, LeavesItsQueueToTheStandbyWhenStoppedAndKilled) {
  const auto server = StartServer(ZygoteSetup());
  const pid_t zygote = ExpectZygote(*server);
  Freeze(zygote);
  std::vector<TestClient> clients;
  // More clients than the zygote's queue has room for.
  for (int i = 0; i < 100; ++i) {
    clients.push_back(ConnectTo(*server));
    ASSERT_THAT(clients.back().Send("x"), IsOk());
  }
  AwaitIdle(server->pid());
  ASSERT_EQ(kill(zygote, SIGKILL), 0);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ExpectReply("x"), IsOk());
    client.Close();
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 100u);
}

// Threads that hold locks of the C library most of the time.
class BusyThreads {
 public:
  explicit BusyThreads(int count) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this] {
        while (!ended_) {
          std::vector<std::string> strings;
          for (int n = 0; n < 64; ++n) strings.push_back(std::string(100, 'x'));
          std::fprintf(stderr, "%s", "");
        }
      });
    }
  }
  ~BusyThreads() {
    ended_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> ended_{false};
  std::vector<std::thread> threads_;
};

TEST_F(ZygoteTest, ServesAProgramWithThreadsAndLeavesNoLockHeldInHandlers) {
  for (const auto strategy :
       {server::StrategyKind::kZygote, server::StrategyKind::kAuto}) {
    TestServer::Setup setup;
    setup.options.strategy = strategy;
    setup.options.log.level = server::LogLevel::kWarning;
    setup.handler = [](net::Connection& connection) {
      const std::string text(200, 'y');  // from the heap
      return net::WriteFull(connection.socket(), text).ok()
                 ? ExitCode::kServed
                 : ExitCode::kPeerLost;
    };
    setup.run = [](server::TcpServer& server) {
      const BusyThreads threads(4);
      return server.Run();
    };
    const auto server = StartServer(std::move(setup));
    for (int i = 0; i < 500 / kCostOfFork; ++i) {
      TestClient client = ConnectTo(*server);
      EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds(std::string(200, 'y')));
    }
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok,
              static_cast<uint64_t>(500 / kCostOfFork))
        << NameOf(strategy);
  }
}

TEST_F(ZygoteTest, IsRequiredForAProgramWithThreads) {
  for (const auto strategy :
       {server::StrategyKind::kFork, server::StrategyKind::kSpares,
        server::StrategyKind::kPool}) {
    TestServer::Setup setup;
    setup.options.strategy = strategy;
    setup.run = [](server::TcpServer& server) {
      const BusyThreads threads(1);
      const absl::Status refused = server.Run();
      EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition,
                                    ::testing::HasSubstr("2 threads")));
      return absl::OkStatus();
    };
    const auto server = StartServer(std::move(setup));
    const TestServer::Report report = server->AwaitExit();
    EXPECT_TRUE(report.complete) << NameOf(strategy);
    EXPECT_THAT(report.leaks, ::testing::IsEmpty()) << NameOf(strategy);
  }
}

TEST_F(ZygoteTest, IsRefusedByCreateIfTheProgramHasThreads) {
  TestServer::Setup setup = ZygoteSetup();
  BusyThreads* threads = nullptr;
  setup.before = [&] { threads = new BusyThreads(1); };
  const auto server = TestServer::Start(std::move(setup));
  EXPECT_THAT(server,
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(::testing::HasSubstr("2 threads"),
                             ::testing::HasSubstr("before the threads"))));
}

TEST_F(ZygoteTest, ServesByTheProgramAsItWasAtCreate) {
  static int state = 0;
  state = 7;
  TestServer::Setup setup = ZygoteSetup();
  setup.handler = [](net::Connection& connection) {
    return net::WriteFull(connection.socket(), absl::StrCat(state)).ok()
               ? ExitCode::kServed
               : ExitCode::kPeerLost;
  };
  setup.run = [](server::TcpServer& server) {
    state = 8;
    EXPECT_THAT(server.BeginGeneration(),
                StatusIs(absl::StatusCode::kUnimplemented));
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds("7"));
  client.Close();
  StopAndExpectClean(*server);
}

// The parent is stopped, and notices the new child later.
TEST_F(ZygoteTest, ReportsTheTimeAtWhichAChildWasCreated) {
  constexpr absl::Duration kStopped = absl::Milliseconds(300);
  Shared<std::atomic<int64_t>> waited_ns;
  TestServer::Setup setup = ZygoteSetup();
  setup.options.on_connection_end = [&](const server::ConnectionReport& ended) {
    *waited_ns = absl::ToInt64Nanoseconds(ended.accept_to_child);
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Echo("hello"), IsOk());
  Freeze(server->pid());
  LetPass(kStopped);
  server->Signal(SIGCONT);
  client.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
  EXPECT_GT(*waited_ns, 0);
  EXPECT_LT(absl::Nanoseconds(waited_ns->load()), kStopped);
}

}  // namespace
}  // namespace brood::testing
