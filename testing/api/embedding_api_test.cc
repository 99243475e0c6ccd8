// SPDX-License-Identifier: Apache-2.0

// What the API offers beyond serving: reports of each end, prepare_child, a
// loop of the embedder, BeginGeneration(). With each strategy.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/server/connection_report.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/server/totals.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ConnectionReport;
using server::ExitCode;
using server::TcpServer;
using ::testing::Ne;

// The fields of a ConnectionReport, in a form for shared memory.
struct StoredReport {
  char peer[64];
  char local[64];
  uint64_t number;
  absl::Time started;
  absl::optional<server::KillReason> kill_reason;
  pid_t pid;
  bool exited;
  int code;  // or the signal
  bool signalled_by_us;
  absl::Duration accept_to_child, duration;
  int64_t used;  // greatest resident memory, in KiB
};
struct StoredReports {
  std::atomic<size_t> count{0};
  std::array<StoredReport, 16> all = {};

  void Add(const ConnectionReport& report) {
    StoredReport& stored = all.at(count);
    std::strncpy(stored.peer, report.peer.ToString().c_str(),
                 sizeof(stored.peer) - 1);
    std::strncpy(stored.local, report.local.ToString().c_str(),
                 sizeof(stored.local) - 1);
    stored.number = report.number;
    stored.started = report.started;
    stored.kill_reason = report.kill_reason;
    stored.pid = report.pid;
    stored.exited = report.status.exited();
    stored.code = stored.exited ? report.status.code() : report.status.signal();
    stored.signalled_by_us = report.signalled_by_us;
    stored.accept_to_child = report.accept_to_child;
    stored.duration = report.duration;
    stored.used = report.status.usage().ru_maxrss;
    ++count;
  }
};

// Runs with each strategy.
class EmbeddingApiTest : public StrategyTest {
 protected:
  static TestServer::Setup FewProcessesSetup() {
    TestServer::Setup setup = QuietSetup();
    setup.options.spares.min = 2;
    setup.options.pool.workers = 3;
    return setup;
  }
  std::string Ask(const TestServer& server) {
    const absl::StatusOr<std::string> reply = ConnectTo(server).ReadUntilEof();
    EXPECT_THAT(reply, IsOk());
    return reply.ok() ? *reply : "";
  }
};

INSTANTIATE_TEST_SUITE_P(With, EmbeddingApiTest, EachStrategy(),
                         StrategyName());

TEST_P(EmbeddingApiTest, ReportsTheEndOfEachConnectionOnce) {
  Shared<StoredReports> reports;
  TestServer::Setup setup = FewProcessesSetup();
  setup.handler = ReplyWithPid;
  setup.options.on_connection_end = [&](const ConnectionReport& report) {
    reports->Add(report);
  };
  const auto server = StartServer(std::move(setup));
  std::map<std::string, std::string> pids;  // by peer
  std::map<std::string, uint64_t> numbers;
  const absl::Time before = absl::Now() - absl::Milliseconds(1);
  for (uint64_t i = 1; i <= 10; ++i) {
    TestClient client = ConnectTo(*server);
    const absl::StatusOr<std::string> pid = client.ReadUntilEof();
    ASSERT_THAT(pid, IsOk());
    pids[client.endpoint().ToString()] = *pid;
    numbers[client.endpoint().ToString()] = i;
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 10u);
  ASSERT_EQ(reports->count, 10u);
  for (size_t i = 0; i < 10; ++i) {
    const StoredReport& report = reports->all[i];
    EXPECT_EQ(pids[report.peer], absl::StrCat(report.pid)) << report.peer;
    pids.erase(report.peer);
    EXPECT_TRUE(report.exited);
    EXPECT_EQ(report.code, 0);
    EXPECT_FALSE(report.signalled_by_us);
    EXPECT_EQ(report.kill_reason, absl::nullopt);
    EXPECT_EQ(report.number, numbers[report.peer]);
    EXPECT_EQ(report.local, server->endpoint().ToString());
    EXPECT_GE(report.started, before);
    EXPECT_LE(report.started, absl::Now());
    EXPECT_GE(report.accept_to_child, absl::ZeroDuration());
    EXPECT_GE(report.duration, report.accept_to_child);
    EXPECT_LT(report.duration, absl::Seconds(10));
    EXPECT_GT(report.used, 0);
  }
}

TEST_P(EmbeddingApiTest, ReportsThatItKilledAConnection) {
  Shared<StoredReports> reports;
  TestServer::Setup setup = FewProcessesSetup();
  setup.options.drain_grace = absl::ZeroDuration();
  setup.options.on_connection_end = [&](const ConnectionReport& report) {
    reports->Add(report);
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Echo("x"), IsOk());
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.killed, 1u);
  ASSERT_EQ(reports->count, 1u);
  EXPECT_FALSE(reports->all[0].exited);
  EXPECT_EQ(reports->all[0].code, SIGTERM);
  EXPECT_TRUE(reports->all[0].signalled_by_us);
  EXPECT_EQ(reports->all[0].kill_reason, server::KillReason::kStop);
}

// A sweep, every 50 ms, would notice it too, but later.
TEST_P(EmbeddingApiTest, NoticesNewChildrenWithoutASweep) {
  Shared<StoredReports> reports;
  TestServer::Setup setup = FewProcessesSetup();
  setup.options.log.level = server::LogLevel::kInfo;
  setup.options.pool.workers = 9;
  setup.options.on_connection_end = [&](const ConnectionReport& report) {
    reports->Add(report);
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients;
  for (int i = 0; i < 9; ++i) {
    clients.push_back(ConnectTo(*server));
    ASSERT_THAT(AwaitServing(*server, 1), ::testing::SizeIs(1));
  }
  clients.clear();
  StopAndExpectClean(*server);
  ASSERT_EQ(reports->count, 9u);
  std::vector<absl::Duration> waits;
  for (size_t i = 0; i < 9; ++i) {
    waits.push_back(reports->all[i].accept_to_child);
  }
  std::sort(waits.begin(), waits.end());
  EXPECT_LT(waits[4], absl::Milliseconds(25)) << "the median";
}

pid_t prepared_for = 0;

TEST_P(EmbeddingApiTest, PreparesEachChildBeforeItsHandler) {
  TestServer::Setup setup = FewProcessesSetup();
  setup.options.prepare_child = [] {
    EXPECT_EQ(prepared_for, 0) << "twice, or in the parent";
    prepared_for = getpid();
    return absl::OkStatus();
  };
  setup.handler = [](net::Connection& connection) {
    return Reply(connection, prepared_for == getpid() ? "prepared" : "raw");
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Ask(*server), "prepared");
  StopAndExpectClean(*server);
}

TEST_P(EmbeddingApiTest, ServesNoClientInAChildThatCouldNotBePrepared) {
  for (const bool throws : {false, true}) {
    Shared<StoredReports> reports;
    TestServer::Setup setup = FewProcessesSetup();
    setup.options.log.level = server::LogLevel::kOff;
    setup.options.prepare_child = [throws]() -> absl::Status {
      if (throws) throw std::runtime_error("no");
      return absl::PermissionDeniedError("no");
    };
    setup.options.on_connection_end = [&](const ConnectionReport& report) {
      reports->Add(report);
    };
    const auto server = StartServer(std::move(setup));
    for (int i = 0; i < 5; ++i) EXPECT_EQ(Ask(*server), "");
    const server::Totals totals = StopAndExpectClean(*server).totals;
    EXPECT_EQ(totals.ended_error, 5u);
    ASSERT_EQ(reports->count, 5u);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_TRUE(reports->all[i].exited);
      EXPECT_EQ(reports->all[i].code, 111);
    }
  }
}

// Serves as a program with a loop of its own does.
template <typename Turned>
absl::Status PollAndStep(TcpServer& server, Turned turned) {
  const absl::StatusOr<int> fd = server.PollableFd();
  if (!fd.ok()) return fd.status();
  for (;;) {
    pollfd readable = {*fd, POLLIN, 0};
    const timespec timeout = {10, 0};
    const int ready = ppoll(&readable, 1, &timeout, nullptr);
    if (ready == 0) return absl::DeadlineExceededError("nothing to do");
    if (ready < 0) continue;
    turned();
    const absl::StatusOr<bool> goes_on = server.Step();
    if (!goes_on.ok()) return goes_on.status();
    if (!*goes_on) return absl::OkStatus();
  }
}

TEST_P(EmbeddingApiTest, ServesInAForeignLoopAndSleepsWhenIdle) {
  Shared<std::atomic<int>> turns;
  TestServer::Setup setup = FewProcessesSetup();
  setup.run = [&](TcpServer& server) {
    return PollAndStep(server, [&] { ++*turns; });
  };
  const auto server = StartServer(std::move(setup));
  constexpr int kClients = 100;
  for (int i = 0; i < kClients; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Echo("hello"), IsOk());
    ASSERT_THAT(client.ShutdownWrite(), IsOk());
    ASSERT_THAT(client.ExpectEof(), IsOk());
  }
  // For each client: accept, the new child, its end, and sometimes a sweep.
  EXPECT_LT(*turns, 30 * kClients);
  TestClient idle = ConnectTo(*server);
  ASSERT_THAT(idle.Echo("hello"), IsOk());
  AwaitIdle(server->pid());
  const int before = *turns;
  LetPass(absl::Milliseconds(500));
  // Ten sweeps, and as many turns for the work of a strategy.
  EXPECT_LT(*turns - before, 40);
  idle.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, kClients + 1u);
}

// A full server has nothing to do, although a client waits in the queue.
TEST_P(EmbeddingApiTest, SleepsInAForeignLoopWhileItIsFull) {
  Shared<std::atomic<int>> turns;
  TestServer::Setup setup = FewProcessesSetup();
  setup.options.max_connections = 1;
  setup.run = [&](TcpServer& server) {
    return PollAndStep(server, [&] { ++*turns; });
  };
  const auto server = StartServer(std::move(setup));
  TestClient first = ConnectTo(*server);
  ASSERT_THAT(first.Echo("hello"), IsOk());
  TestClient second = ConnectTo(*server);
  ASSERT_THAT(second.Send("hello"), IsOk());
  AwaitIdle(server->pid());
  const int before = *turns;
  LetPass(absl::Milliseconds(500));
  EXPECT_LT(*turns - before, 40);
  first.Close();
  EXPECT_THAT(second.ExpectReply("hello"), IsOk());
  second.Close();
  StopAndExpectClean(*server);
}

struct Bell {
  std::atomic<bool> rung{false}, heard{false};

  // Rings, and waits until the server process has reacted.
  void Ring() {
    rung = true;
    ASSERT_TRUE(Await([&] { return heard.load(); }));
  }
  // Reports whether the bell has rung and the server process has not reacted.
  bool Rings() const { return rung && !heard; }
};

int generation = 0;

TEST_P(EmbeddingApiTest, ServesNoClientByAProcessOfAnOlderGeneration) {
  if (!row().forks_itself)
    GTEST_SKIP() << "the strategy has one generation only";
  Shared<Bell> bell;
  TestServer::Setup setup = FewProcessesSetup();
  setup.options.spares.min = 8;
  setup.options.pool.workers = 8;
  setup.run = [&](TcpServer& server) -> absl::Status {
    for (;;) {
      const absl::StatusOr<bool> goes_on = server.Step(absl::Milliseconds(5));
      if (!goes_on.ok()) return goes_on.status();
      if (!*goes_on) return absl::OkStatus();
      if (!bell->Rings()) continue;
      ++generation;
      EXPECT_THAT(server.BeginGeneration(), IsOk());
      bell->heard = true;
    }
  };
  setup.handler = [](net::Connection& connection) {
    const ExitCode code = Reply(connection, absl::StrCat(generation));
    char byte;
    recv(connection.fd(), &byte, 1, 0);  // until the client closes
    return code;
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> old;
  for (int i = 0; i < 5; ++i) {
    old.push_back(ConnectTo(*server));
    EXPECT_THAT(old.back().ReadExactly(1), IsOkAndHolds("0"));
  }
  bell->Ring();
  for (int i = 0; i < 300; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.ReadExactly(1), IsOkAndHolds("1")) << "client " << i;
    if (i % 60 == 30) old.pop_back();  // its process must not serve again
  }
  old.clear();
  StopAndExpectClean(*server);
}

class ZygoteApiTest : public ServerTest {};

TEST_F(ZygoteApiTest, ReturnsUnimplementedForAnotherGeneration) {
  TestServer::Setup setup = QuietSetup();
  setup.options.strategy = server::StrategyKind::kZygote;
  setup.run = [](TcpServer& server) {
    EXPECT_THAT(server.BeginGeneration(),
                StatusIs(absl::StatusCode::kUnimplemented));
    return server.Run();
  };
  setup.handler = ReplyWithPid;
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds(Ne("")));
  StopAndExpectClean(*server);
}

}  // namespace
}  // namespace brood::testing
