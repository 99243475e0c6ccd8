// SPDX-License-Identifier: Apache-2.0

// What an embedder asks of a server beyond serving: to be told of each end, to
// prepare each child, to be part of another's loop, to live beside a second
// server, to begin a generation. Whatever the strategy is.

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

// A report, as it can be kept in shared memory.
struct Told {
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
  int64_t used;  // of memory
};
struct AllTold {
  std::atomic<size_t> count{0};
  std::array<Told, 16> reports = {};

  void Add(const ConnectionReport& report) {
    Told& told = reports.at(count);
    std::strncpy(told.peer, report.peer.ToString().c_str(),
                 sizeof(told.peer) - 1);
    std::strncpy(told.local, report.local.ToString().c_str(),
                 sizeof(told.local) - 1);
    told.number = report.number;
    told.started = report.started;
    told.kill_reason = report.kill_reason;
    told.pid = report.pid;
    told.exited = report.status.exited();
    told.code = told.exited ? report.status.code() : report.status.signal();
    told.signalled_by_us = report.signalled_by_us;
    told.accept_to_child = report.accept_to_child;
    told.duration = report.duration;
    told.used = report.status.usage().ru_maxrss;
    ++count;
  }
};

// For each way in which processes are made.
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

TEST_P(EmbeddingApiTest, TellsOfTheEndOfEachConnectionOnce) {
  Shared<AllTold> told;
  TestServer::Setup setup = FewProcessesSetup();
  setup.handler = ReplyWithPid;
  setup.options.on_connection_end = [&](const ConnectionReport& report) {
    told->Add(report);
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
  ASSERT_EQ(told->count, 10u);
  for (size_t i = 0; i < 10; ++i) {
    const Told& report = told->reports[i];
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

TEST_P(EmbeddingApiTest, TellsThatItEndedAConnectionItself) {
  Shared<AllTold> told;
  TestServer::Setup setup = FewProcessesSetup();
  setup.options.drain_grace = absl::ZeroDuration();
  setup.options.on_connection_end = [&](const ConnectionReport& report) {
    told->Add(report);
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Echo("x"), IsOk());
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.killed, 1u);
  ASSERT_EQ(told->count, 1u);
  EXPECT_FALSE(told->reports[0].exited);
  EXPECT_EQ(told->reports[0].code, SIGTERM);
  EXPECT_TRUE(told->reports[0].signalled_by_us);
  EXPECT_EQ(told->reports[0].kill_reason, server::KillReason::kStop);
}

// The safety net, which comes every 50 ms, would find out too.
TEST_P(EmbeddingApiTest, HearsOfABirthWhenItHappens) {
  Shared<AllTold> told;
  TestServer::Setup setup = FewProcessesSetup();
  setup.options.log.level = server::LogLevel::kInfo;
  setup.options.pool.workers = 9;
  setup.options.on_connection_end = [&](const ConnectionReport& report) {
    told->Add(report);
  };
  const auto server = StartServer(std::move(setup));
  std::vector<TestClient> clients;
  for (int i = 0; i < 9; ++i) {
    clients.push_back(ConnectTo(*server));
    ASSERT_THAT(AwaitServing(*server, 1), ::testing::SizeIs(1));
  }
  clients.clear();
  StopAndExpectClean(*server);
  ASSERT_EQ(told->count, 9u);
  std::vector<absl::Duration> waits;
  for (size_t i = 0; i < 9; ++i) {
    waits.push_back(told->reports[i].accept_to_child);
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

TEST_P(EmbeddingApiTest, ServesNobodyInAChildThatCouldNotBePrepared) {
  for (const bool throws : {false, true}) {
    Shared<AllTold> told;
    TestServer::Setup setup = FewProcessesSetup();
    setup.options.log.level = server::LogLevel::kOff;
    setup.options.prepare_child = [throws]() -> absl::Status {
      if (throws) throw std::runtime_error("no");
      return absl::PermissionDeniedError("no");
    };
    setup.options.on_connection_end = [&](const ConnectionReport& report) {
      told->Add(report);
    };
    const auto server = StartServer(std::move(setup));
    for (int i = 0; i < 5; ++i) EXPECT_EQ(Ask(*server), "");
    const server::Totals totals = StopAndExpectClean(*server).totals;
    EXPECT_EQ(totals.ended_error, 5u);
    ASSERT_EQ(told->count, 5u);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_TRUE(told->reports[i].exited);
      EXPECT_EQ(told->reports[i].code, 111);
    }
  }
}

// What a program with a loop of its own does.
template <typename Turned>
absl::Status PollAndStep(TcpServer& server, Turned turned) {
  const absl::StatusOr<int> fd = server.PollableFd();
  if (!fd.ok()) return fd.status();
  for (;;) {
    pollfd readable = {*fd, POLLIN, 0};
    const timespec patience = {10, 0};
    const int ready = ppoll(&readable, 1, &patience, nullptr);
    if (ready == 0) return absl::DeadlineExceededError("nothing to do");
    if (ready < 0) continue;
    turned();
    const absl::StatusOr<bool> goes_on = server.Step();
    if (!goes_on.ok()) return goes_on.status();
    if (!*goes_on) return absl::OkStatus();
  }
}

TEST_P(EmbeddingApiTest, ServesInAForeignLoopThatSleepsWhenThereIsNothingToDo) {
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
  // Accepting, the birth, the end, and now and then the safety net.
  EXPECT_LT(*turns, 30 * kClients);
  TestClient idle = ConnectTo(*server);
  ASSERT_THAT(idle.Echo("hello"), IsOk());
  AwaitIdle(server->pid());
  const int before = *turns;
  LetPass(absl::Milliseconds(500));
  // The safety net's ten, and as many for what a strategy has to do.
  EXPECT_LT(*turns - before, 40);
  idle.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, kClients + 1u);
}

// A full server is no reason to turn, though somebody waits at the door.
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

  // Waits until the server process has done what it does when it rings.
  void Ring() {
    rung = true;
    ASSERT_TRUE(Await([&] { return heard.load(); }));
  }
  // In the server process: once.
  bool Hears() const { return rung && !heard; }
};

int generation = 0;

TEST_P(EmbeddingApiTest, ServesNobodyByAProcessOfAnOlderGeneration) {
  if (!row().forks_itself) GTEST_SKIP() << "it has but one";
  Shared<Bell> bell;
  TestServer::Setup setup = FewProcessesSetup();
  setup.options.spares.min = 8;
  setup.options.pool.workers = 8;
  setup.run = [&](TcpServer& server) -> absl::Status {
    for (;;) {
      const absl::StatusOr<bool> goes_on = server.Step(absl::Milliseconds(5));
      if (!goes_on.ok()) return goes_on.status();
      if (!*goes_on) return absl::OkStatus();
      if (!bell->Hears()) continue;
      ++generation;
      EXPECT_THAT(server.BeginGeneration(), IsOk());
      bell->heard = true;
    }
  };
  setup.handler = [](net::Connection& connection) {
    const ExitCode said = Reply(connection, absl::StrCat(generation));
    char byte;
    recv(connection.fd(), &byte, 1, 0);  // until the client closes
    return said;
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
    if (i % 60 == 30) old.pop_back();  // whose process must not come back
  }
  old.clear();
  StopAndExpectClean(*server);
}

class ZygoteApiTest : public ServerTest {};

TEST_F(ZygoteApiTest, AZygoteSaysThatItHasOneGenerationAlone) {
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
