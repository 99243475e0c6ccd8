// SPDX-License-Identifier: Apache-2.0

// What spares and a pool promise beyond a fork for each connection: no client
// is lost when a waiting process ends, and a process that serves again is like
// a new one.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

class ForkedAheadTest : public ServerTest {
 protected:
  static TestServer::Setup SparesSetup() {
    TestServer::Setup setup;
    setup.options.strategy = server::StrategyKind::kSpares;
    return setup;
  }
  static TestServer::Setup PoolSetup(int workers) {
    TestServer::Setup setup;
    setup.options.strategy = server::StrategyKind::kPool;
    setup.options.pool.workers = workers;
    return setup;
  }
  // Returns a handler that calls `deed`, and then sends its pid.
  static server::Handler SendPidAfter(std::function<void()> deed) {
    return [deed = std::move(deed)](net::Connection& connection) {
      deed();
      return net::WriteFull(connection.socket(), absl::StrCat(getpid())).ok()
                 ? ExitCode::kServed
                 : ExitCode::kPeerLost;
    };
  }
  pid_t PidThatServes(const TestServer& server) {
    TestClient client = ConnectTo(server);
    const absl::StatusOr<std::string> text = client.ReadUntilEof();
    EXPECT_THAT(text, IsOk());
    pid_t pid = 0;
    EXPECT_TRUE(text.ok() && absl::SimpleAtoi(*text, &pid));
    return pid;
  }
  static bool HasOpen(const std::string& name) {
    const std::vector<int> open = DescriptorsOf("self");
    return std::any_of(open.begin(), open.end(), [&](int fd) {
      return absl::StrContains(WhatIs(fd), name);
    });
  }
  static void AwaitChildren(const TestServer& server, size_t count) {
    EXPECT_TRUE(Await([&] { return server.children().size() == count; }))
        << server.children().size();
  }
};

TEST_F(ForkedAheadTest, LosesNoClientWhenSparesAreKilled) {
  constexpr int kConnections = 2000 / kCostOfFork;
  TestServer::Setup setup = SparesSetup();
  setup.options.log.level = server::LogLevel::kError;
  // The processes that are no spares any more: their handlers have begun.
  Shared<std::array<std::atomic<pid_t>, 1 << 12>> begun;
  setup.handler =
      [&, echo = server::EchoHandler(1024)](net::Connection& connection) {
        (*begun)[static_cast<size_t>(getpid()) % begun->size()] = getpid();
        return echo(connection);
      };
  const auto server = StartServer(std::move(setup));
  AwaitChildren(*server, 4);
  std::atomic<bool> ended{false};
  int killed = 0;
  std::thread killer([&] {
    std::minstd_rand random(4711);
    while (!ended) {
      LetPass(absl::Milliseconds(5));
      const std::vector<pid_t> children = server->children();
      if (children.empty()) continue;
      const pid_t pid = children[random() % children.size()];
      // Chooses a process that sleeps at its queue: others were forked for a
      // connection because there was no spare. Stops it before it looks whether
      // the process is still a spare, so that this cannot change.
      const std::string sleeps_in =
          ReadProcFile(absl::StrCat("/proc/", pid, "/wchan"));
      if (!absl::StrContains(sleeps_in, "skb_wait")) continue;
      kill(pid, SIGSTOP);
      char state = '?';
      EXPECT_TRUE(Await([&] {
        state = ReadStat(absl::StrCat("/proc/", pid)).state;
        return state == 'T' || state == 'Z' || state == '?';
      }));
      const bool spare =
          state == 'T' &&
          (*begun)[static_cast<size_t>(pid) % begun->size()] != pid;
      kill(pid, spare ? SIGKILL : SIGCONT);
      if (spare) ++killed;
    }
  });
  uint64_t failed = 0;
  for (int i = 0; i < kConnections; ++i) {
    TestClient client = ConnectTo(*server);
    if (!client.Echo("hello").ok()) ++failed;
  }
  ended = true;
  killer.join();
  const TestServer::Report report = StopAndExpectClean(*server);
  // A spare may be killed in the few instructions between its acknowledgement
  // and its handler. Then the connection is counted as crashed.
  EXPECT_LE(failed, report.totals.crashed);
  EXPECT_LE(failed, 2u);
  EXPECT_EQ(report.totals.accepted, static_cast<uint64_t>(kConnections));
  EXPECT_EQ(report.totals.fork_failed + report.totals.unknown, 0u);
  RecordProperty("spares killed", killed);
  RecordProperty("clients lost", static_cast<int>(failed));
}

TEST_F(ForkedAheadTest, GivesTheConnectionOfAKilledProcessToAnother) {
  for (TestServer::Setup setup : {SparesSetup(), PoolSetup(4)}) {
    const auto server = StartServer(std::move(setup));
    AwaitChildren(*server, 4);
    // The processes that get the connections cannot accept them.
    const std::vector<pid_t> stopped = server->children();
    for (const pid_t pid : stopped) Freeze(pid);
    std::vector<TestClient> clients;
    for (int i = 0; i < 4; ++i) {
      clients.push_back(ConnectTo(*server));
      ASSERT_THAT(clients.back().Send("x"), IsOk());
    }
    EXPECT_THAT(server->AwaitEvents(4, "assigned"), IsOk());
    for (const pid_t pid : stopped) kill(pid, SIGKILL);
    for (TestClient& client : clients) {
      EXPECT_THAT(client.ExpectReply("x"), IsOk());
      client.Close();
    }
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 4u);
  }
}

TEST_F(ForkedAheadTest, ReplacesKilledSpares) {
  const auto server = StartServer(SparesSetup());
  for (int round = 0; round < 5; ++round) {
    AwaitChildren(*server, 4);
    const std::vector<pid_t> old = server->children();
    for (const pid_t pid : old) kill(pid, SIGKILL);
    const net::Instant start = net::Now();
    ASSERT_TRUE(Await([&] {
      const std::vector<pid_t> now = server->children();
      return now.size() == 4 &&
             std::find_first_of(now.begin(), now.end(), old.begin(),
                                old.end()) == now.end();
    }));
    RecordProperty("refill ms", static_cast<int>(absl::ToInt64Milliseconds(
                                    absl::FromChrono(net::Now() - start))));
  }
  StopAndExpectClean(*server);
}

TEST_F(ForkedAheadTest, ForksMoreSparesInABurstAndFewerAfterIt) {
  TestServer::Setup setup = SparesSetup();
  setup.options.spares.max = 8;
  const auto server = StartServer(std::move(setup));
  AwaitChildren(*server, 4);
  std::vector<TestClient> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(ConnectTo(*server));
  }
  for (TestClient& client : clients) EXPECT_THAT(client.Echo("x"), IsOk());
  AwaitChildren(*server, 20 + 8);
  clients.clear();
  AwaitChildren(*server, 4);
  StopAndExpectClean(*server);
}

TEST_F(ForkedAheadTest, BacksOffWhenSparesFailToStart) {
  TestServer::Setup setup = SparesSetup();
  Shared<std::atomic<int>> starts;
  Shared<std::atomic<bool>> fixed;
  setup.options.prepare_child = [&]() -> absl::Status {
    ++*starts;
    if (*fixed) return absl::OkStatus();
    return absl::InternalError("not yet");
  };
  const auto server = StartServer(std::move(setup));
  LetPass(absl::Seconds(2));
  EXPECT_LE(*starts, 6);
  EXPECT_GE(*starts, 3);
  *fixed = true;
  const net::Instant start = net::Now();
  AwaitChildren(*server, 4);
  EXPECT_LE(absl::FromChrono(net::Now() - start), absl::Seconds(3));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Echo("hello"), IsOk());
  client.Close();
  StopAndExpectClean(*server);
}

TEST_F(ForkedAheadTest, ServesOneConnectionAfterTheOtherByAWorker) {
  TestServer::Setup setup = PoolSetup(1);
  setup.handler = SendPidAfter([] {});
  const auto server = StartServer(std::move(setup));
  AwaitChildren(*server, 1);
  const pid_t worker = server->children()[0];
  for (int i = 0; i < 100; ++i) EXPECT_EQ(PidThatServes(*server), worker);
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 100u);
}

TEST_F(ForkedAheadTest, ReplacesAWorkerAfterAboutItsMaxConnections) {
  TestServer::Setup setup = PoolSetup(1);
  setup.options.pool.max_connections = 20;
  setup.handler = SendPidAfter([] {});
  const auto server = StartServer(std::move(setup));
  std::map<pid_t, int> served;
  for (int i = 0; i < 200; ++i) ++served[PidThatServes(*server)];
  // A connection that arrives while the next worker is created has a process of
  // its own. The last worker has not reached its number yet.
  int workers = 0, unfinished = 0;
  for (const auto& [pid, connections] : served) {
    EXPECT_LE(connections, 25) << pid;
    if (connections >= 15) {
      ++workers;
    } else if (connections > 1) {
      ++unfinished;
    }
  }
  EXPECT_GE(workers, 200 / 25 - 2);
  EXPECT_LE(unfinished, 1);
  StopAndExpectClean(*server);
}

TEST_F(ForkedAheadTest, LeavesNoChangeOfAHandlerToTheNextConnection) {
  struct Deed {
    const char* name;
    std::function<void()> deed;
  };
  const Deed deeds[] = {
      {"descriptor", [] { memfd_create("dirt", 0); }},
      {"standard output", [] { close(STDOUT_FILENO); }},
      {"directory", [] { EXPECT_EQ(chdir("/"), 0); }},
      {"umask", [] { umask(0); }},
      {"environment", [] { setenv("DIRTY", "1", 1); }},
      {"disposition", [] { std::signal(SIGUSR1, SIG_IGN); }},
      {"timer", [] { alarm(1000); }},
  };
  for (const Deed& deed : deeds) {
    SCOPED_TRACE(deed.name);
    Shared<std::atomic<int>> calls;
    TestServer::Setup setup = PoolSetup(1);
    setup.handler = [&](net::Connection& connection) {
      // The second connection reports what it finds.
      const std::string found =
          absl::StrCat(fcntl(STDOUT_FILENO, F_GETFD) < 0, HasOpen("memfd:dirt"),
                       getenv("DIRTY") != nullptr, umask(022), alarm(0),
                       std::signal(SIGUSR1, SIG_DFL) == SIG_IGN,
                       std::string(get_current_dir_name()) == "/");
      if ((*calls)++ == 0) deed.deed();
      return net::WriteFull(connection.socket(), found).ok()
                 ? ExitCode::kServed
                 : ExitCode::kPeerLost;
    };
    const auto server = StartServer(std::move(setup));
    std::vector<std::string> found;
    for (int i = 0; i < 2; ++i) {
      AwaitChildren(*server, 1);
      TestClient client = ConnectTo(*server);
      found.push_back(client.ReadUntilEof().value_or("nothing"));
      client.Close();
      EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 0}}),
                  IsOk());
    }
    EXPECT_EQ(found[0], found[1]);
    StopAndExpectClean(*server);
  }
}

TEST_F(ForkedAheadTest, EndsOnlyTheConnectionWhoseWorkerEnds) {
  TestServer::Setup setup = PoolSetup(4);
  setup.handler = [](net::Connection& connection) {
    char kind;
    if (!net::ReadFull(connection.socket(), absl::MakeSpan(&kind, 1)).ok()) {
      return ExitCode::kPeerLost;
    }
    if (kind == 'e') std::exit(7);
    if (kind == 'c') std::raise(SIGSEGV);
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 30; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Send(i % 3 == 0 ? "e" : i % 3 == 1 ? "c" : "s"), IsOk());
    EXPECT_THAT(client.ExpectEof(), IsOk());
  }
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_error, 10u);
  EXPECT_EQ(report.totals.crashed, 10u);
  EXPECT_EQ(report.totals.ended_ok, 10u);
}

}  // namespace
}  // namespace brood::testing
