// SPDX-License-Identifier: Apache-2.0

// The processes that a strategy has beside those of connections: how many there
// are, and that clients are served whichever of them is killed.

#include "brood/testing/strategies.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
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
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

class StrategiesTest : public StrategyTest {
 protected:
  void ExpectServed(const TestServer& server) {
    TestClient client = ConnectTo(server);
    EXPECT_THAT(client.Echo("hello"), IsOk());
    EXPECT_THAT(client.ShutdownWrite(), IsOk());
    EXPECT_THAT(client.ExpectEof(), IsOk());
  }

  static bool IsGone(pid_t pid) {
    const char state = ReadStat(absl::StrCat("/proc/", pid)).state;
    return state == '?' || state == 'Z';
  }
};

TEST_P(StrategiesTest, HasTheProcessesOfItsRowWhenIdle) {
  const auto server = StartServer();
  ExpectRest(*server);
  {
    TestClient client = ConnectTo(*server);
    EXPECT_THAT(client.Echo("hello"), IsOk());
    ExpectRest(*server, /*busy=*/1);
  }
  ExpectRest(*server);
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
}

TEST_P(StrategiesTest, UsesNoProcessorWhenIdle) {
  const auto server = StartServer();
  ExpectServed(*server);
  ExpectRest(*server);
  const absl::Duration busy_before = CpuTimeOf(server->pid());
  LetPass(absl::Seconds(1));  // the claim is about a length of time
  EXPECT_LT(CpuTimeOf(server->pid()) - busy_before, absl::Milliseconds(10));
  StopAndExpectClean(*server);
}

TEST_P(StrategiesTest, StopsAtOnceThoughProcessesWait) {
  for (int requests : {1, 2}) {
    TestServer::Setup setup;
    setup.options.drain_grace = absl::Minutes(1);
    const auto server = StartServer(std::move(setup));
    ExpectRest(*server);
    const net::Instant start = net::Now();
    // Sends both requests while the server is stopped: it might have ended
    // before the second.
    Freeze(server->pid());
    for (int i = 0; i < requests; ++i) server->Signal(SIGTERM);
    server->Signal(SIGCONT);
    ExpectClean(server->AwaitExit());
    EXPECT_LT(absl::FromChrono(net::Now() - start), absl::Seconds(1));
  }
}

TEST_P(StrategiesTest, ReplacesAWaitingProcessThatIsKilled) {
  const auto server = StartServer();
  ExpectRest(*server);
  const size_t waiting = ChildrenAtRest(*server);
  for (size_t i = 0; i < std::min<size_t>(waiting, 4); ++i) {
    kill(server->children().at(i), SIGKILL);
    ExpectServed(*server);
    EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 0}}), IsOk());
    ExpectRest(*server);
  }
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, report.totals.accepted);
}

TEST_P(StrategiesTest, ReplacesWaitingProcessesThatAreKilledAtOnce) {
  const auto server = StartServer();
  for (int round = 0; round < 5; ++round) {
    ExpectRest(*server);
    for (pid_t child : server->children()) kill(child, SIGKILL);
    ExpectServed(*server);
    // The process of the connection must not be among those killed next.
    EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 0}}), IsOk());
  }
  ExpectRest(*server);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, 5u);
}

TEST_P(StrategiesTest, ServesOnWhenWaitingProcessesAreKilled) {
  const auto server = StartServer();
  std::vector<TestClient> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(ConnectTo(*server));
    EXPECT_THAT(clients.back().Echo("hello"), IsOk());
  }
  const std::vector<pid_t> serving = AwaitServing(*server, 4);
  ExpectRest(*server, /*busy=*/4);
  for (pid_t child : server->children()) {
    if (std::count(serving.begin(), serving.end(), child) == 0) {
      kill(child, SIGKILL);
    }
  }
  ExpectServed(*server);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.Echo("still here"), IsOk());
  }
  clients.clear();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 5u);
}

// Kills children at random, serving or waiting.
TEST_P(StrategiesTest,
       RecordsOneOutcomeForEachConnectionThoughProcessesAreKilled) {
  TestServer::Setup setup;
  setup.options.log.level = server::LogLevel::kOff;
  constexpr int kClients = 200 / kCostOfFork;
  const auto server = StartServer(std::move(setup));
  std::atomic<bool> ended{false};
  std::thread killer([&] {
    for (size_t n = 0; !ended; ++n) {
      LetPass(absl::Milliseconds(7));
      const std::vector<pid_t> children = server->children();
      if (!children.empty()) kill(children[n % children.size()], SIGKILL);
    }
  });
  for (int i = 0; i < kClients; ++i) {
    TestClient client = ConnectTo(*server);
    client.Echo("hello").IgnoreError();
  }
  ended = true;
  killer.join();
  ExpectServed(*server);
  ExpectRest(*server);
  EXPECT_EQ(StopAndExpectClean(*server).totals.accepted,
            uint64_t{kClients + 1});
}

TEST_P(StrategiesTest, EndsWaitingProcessesWhenTheServerProcessIsKilled) {
  const auto server = StartServer();
  ExpectServed(*server);
  ExpectRest(*server);
  const std::vector<pid_t> waiting = server->children();
  server->Kill();
  for (pid_t pid : waiting) {
    EXPECT_TRUE(Await([&] { return IsGone(pid); })) << DescribeProcess(pid);
  }
}

// The pause between two starts doubles, up to 1.6 s: 12 starts in ten seconds.
TEST_P(StrategiesTest, BacksOffWhenChildrenFailToStart) {
  TestServer::Setup setup;
  setup.options.prepare_child = [] {
    return absl::UnavailableError("no entropy");
  };
  const auto server = StartServer(std::move(setup));
  const absl::Duration busy_before = CpuTimeOf(server->pid());
  LetPass(absl::Seconds(2));  // the claim is about a length of time
  EXPECT_LT(CpuTimeOf(server->pid()) - busy_before,
            kCostOfFork * absl::Milliseconds(40));
  EXPECT_THAT(EventsOf(server->log(), "prepare-failed",
                       {{"error.message", "no entropy"}}),
              SizeIs(Le(6u)));
  EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds(""));
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_error, 1u);
}

TEST_P(StrategiesTest, CreatesNoProcessInTheDestructor) {
  Shared<std::atomic<int>> starts;
  TestServer::Setup setup;
  setup.options.prepare_child = [&] {
    ++*starts;
    return absl::OkStatus();
  };
  setup.run = [](server::TcpServer& /*server*/) { return absl::OkStatus(); };
  const auto server = StartServer(std::move(setup));
  const TestServer::Report report = server->AwaitExit();
  ExpectClean(report);
  EXPECT_EQ(*starts, 0);
  EXPECT_THAT(EventsOf(report.log, "prefork-failed"), IsEmpty());
}

TEST_P(StrategiesTest, ServesEachConnectionByTheGenerationOfItsAccept) {
  static int generation;
  generation = 0;
  Shared<std::atomic<int>> wanted, begun;
  TestServer::Setup setup;
  setup.options.pool.workers = 4;
  setup.run = [&](server::TcpServer& server) {
    for (;;) {
      const absl::StatusOr<bool> goes_on = server.Step(absl::Milliseconds(5));
      if (!goes_on.ok()) return goes_on.status();
      if (!*goes_on) return absl::OkStatus();
      if (*wanted == generation) continue;
      generation = *wanted;
      const absl::Status status = server.BeginGeneration();
      EXPECT_EQ(status.ok(), row().forks_itself) << status;
      *begun = generation;
    }
  };
  setup.handler = [](net::Connection& connection) {
    net::WriteFull(connection.socket(), absl::StrCat(generation, "\n"))
        .IgnoreError();
    char byte;
    while (net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok()) {
    }
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> held;
  for (int i = 1; i <= 10; ++i) {
    ExpectRest(*server, held.size());
    *wanted = i;
    ASSERT_TRUE(Await([&] { return *begun == i; }));
    TestClient client = ConnectTo(*server);
    // A zygote has the state that the program had at Create().
    EXPECT_THAT(
        client.ExpectReply(row().forks_itself ? absl::StrCat(i, "\n") : "0\n"),
        IsOk());
    if (i == 5) held.push_back(std::move(client));
  }
  held.clear();
  ExpectRest(*server);
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 10u);
}

INSTANTIATE_TEST_SUITE_P(With, StrategiesTest, EachStrategy(), StrategyName());

using AutoTest = ServerTest;

TEST_F(AutoTest, UsesAZygoteForAProgramThatHasGrown) {
  TestServer::Setup setup;
  setup.options.strategy = server::StrategyKind::kAuto;
  setup.run = [](server::TcpServer& server) {
    const std::string memory(server::Options::kLargestToFork + (8 << 20), 'x');
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  EXPECT_TRUE(Await([&] { return server->children().size() == 2; }))
      << "the zygote and its standby";
  StopAndExpectClean(*server);
}

}  // namespace
}  // namespace brood::testing
