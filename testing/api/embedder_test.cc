// SPDX-License-Identifier: Apache-2.0

// A server and the program that embeds it do not disturb each other, whatever
// the program does with signals and with children of its own.

#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/server/totals.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "brood/testing/support/shared.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class EmbedderTest : public StrategyTest {
 protected:
  // Serves `count` clients, one after the other.
  void Visit(const TestServer& server, int count, absl::string_view bytes) {
    for (int i = 0; i < count; ++i) {
      TestClient client = ConnectTo(server);
      ASSERT_THAT(client.Echo(bytes), IsOk()) << "client " << i;
      ASSERT_THAT(client.ShutdownWrite(), IsOk());
      ASSERT_THAT(client.ExpectEof(), IsOk());
    }
  }
};

// Steps `server`, and calls `turn` after each step.
template <typename Turn>
absl::Status RunWith(server::TcpServer& server, Turn turn) {
  for (;;) {
    const absl::StatusOr<bool> goes_on = server.Step(absl::Milliseconds(10));
    if (!goes_on.ok()) return goes_on.status();
    if (!*goes_on) return absl::OkStatus();
    turn();
  }
}

// Waits for any child, `count` times. Each must be a child of the embedder.
// Returns their exit codes.
std::set<int> AwaitAny(int count) {
  std::set<int> codes;
  for (int i = 0; i < count; ++i) {
    int status = 0;
    EXPECT_GT(waitpid(-1, &status, 0), 0) << "another wait reaped it";
    EXPECT_TRUE(WIFEXITED(status));
    codes.insert(WEXITSTATUS(status));
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "there is one child too many";
  EXPECT_EQ(errno, ECHILD);
  return codes;
}

// The embedder leaves its children zombies for a while, and the server does not
// reap them.
TEST_P(EmbedderTest, LeavesChildrenOfTheEmbedderToTheEmbedder) {
  TestServer::Setup setup = QuietSetup();
  setup.run = [](server::TcpServer& server) {
    int forked = 0;
    std::set<int> codes;
    absl::Status stopped = RunWith(server, [&] {
      if (forked == 50 ||
          server.totals().accepted < static_cast<uint64_t>(forked) * 10) {
        return;
      }
      ++forked;
      if (fork() == 0) _exit(forked);
      if (forked % 25 == 0) codes.merge(AwaitAny(25));
    });
    EXPECT_EQ(codes.size(), 50u);
    return stopped;
  };
  const auto server = StartServer(std::move(setup));
  Visit(*server, 500, "hello");
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.ended_ok, 500u);
  EXPECT_EQ(totals.unknown, 0u);
}

TEST_P(EmbedderTest, FreesTheSlotOfAChildThatTheEmbedderReaped) {
  TestServer::Setup setup = QuietSetup();
  setup.options.max_connections = 1;
  Shared<std::atomic<pid_t>> first;
  Shared<std::atomic<bool>> awaited;
  setup.run = [&](server::TcpServer& server) {
    bool reaped = false;
    return RunWith(server, [&] {
      const pid_t serving = *first;
      if (reaped || serving == 0) return;
      *awaited = true;
      int status;
      EXPECT_EQ(waitpid(serving, &status, __WALL), serving);
      reaped = true;
    });
  };
  setup.handler = [&](net::Connection& connection) -> server::ExitCode {
    pid_t none = 0;
    first->compare_exchange_strong(none, getpid());
    // Waits, or the server could reap this child first.
    EXPECT_TRUE(Await([&] { return awaited->load(); }));
    server::EchoHandler(512)(connection);
    _exit(0);
  };
  const auto server = StartServer(std::move(setup));
  Visit(*server, 2, "hello");
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.unknown, 1u);
  EXPECT_EQ(totals.ended_ok, 1u);
}

// What an embedder may have done with SIGCHLD before it created the server.
struct SigchldCase {
  const char* name;
  void (*prepare)();
};

constexpr SigchldCase kSigchldCases[] = {
    {"is ignored", [] { signal(SIGCHLD, SIG_IGN); }},
    {"is blocked",
     [] {
       sigset_t sigchld;
       sigemptyset(&sigchld);
       sigaddset(&sigchld, SIGCHLD);
       sigprocmask(SIG_BLOCK, &sigchld, nullptr);
     }},
    // The handler that most tutorials show.
    {"is handled",
     [] {
       signal(SIGCHLD, [](int) {
         while (waitpid(-1, nullptr, WNOHANG) > 0) {
         }
       });
     }},
    {"wants no zombies",
     [] {
       struct sigaction no_zombies = {};
       no_zombies.sa_handler = SIG_DFL;
       no_zombies.sa_flags = SA_NOCLDWAIT;
       sigaction(SIGCHLD, &no_zombies, nullptr);
     }},
};

TEST_P(EmbedderTest, KnowsEveryStatusWhateverTheActionOfSigchldIs) {
  for (const SigchldCase& sigchld : kSigchldCases) {
    SCOPED_TRACE(std::string("SIGCHLD ") + sigchld.name);
    TestServer::Setup setup = QuietSetup();
    setup.options.max_connections = 10;
    setup.before = sigchld.prepare;
    const auto server = StartServer(std::move(setup));
    Visit(*server, 90, "hello");
    std::vector<TestClient> at_once;
    for (int i = 0; i < 10; ++i) at_once.push_back(ConnectTo(*server));
    for (TestClient& client : at_once) EXPECT_THAT(client.Echo("x"), IsOk());
    at_once.clear();
    const server::Totals totals = StopAndExpectClean(*server).totals;
    EXPECT_EQ(totals.ended_ok, 100u);
    EXPECT_EQ(totals.unknown, 0u);
  }
}

// If SIGCHLD is ignored, the kernel itself reaps a child that has executed a
// program. Then its status is lost, and nothing else.
TEST_P(EmbedderTest, FreesTheSlotOfAProgramThatTheKernelReaped) {
  TestServer::Setup setup = QuietSetup();
  setup.options.max_connections = 1;
  setup.before = [] { signal(SIGCHLD, SIG_IGN); };
  setup.handler = [](net::Connection& /*connection*/) {
    execlp("true", "true", nullptr);
    return server::ExitCode::kSystemRefused;
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(ConnectTo(*server).ExpectEof(), IsOk());
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.unknown, 3u);
}

void InterruptAThousandTimesASecond() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(SIGALRM, &action, nullptr);
  const itimerval often = {{0, 1000}, {0, 1000}};
  setitimer(ITIMER_REAL, &often, nullptr);
}

TEST_P(EmbedderTest, ServesThoughSignalsInterruptEveryCall) {
  TestServer::Setup setup = QuietSetup();
  setup.before = InterruptAThousandTimesASecond;
  setup.after = [] {
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
  };
  setup.handler = [](net::Connection& connection) {
    InterruptAThousandTimesASecond();  // timers are not inherited
    return server::EchoHandler(512)(connection);
  };
  const auto server = StartServer(std::move(setup));
  std::string bytes;
  for (int i = 0; i < 4096; ++i) bytes += static_cast<char>(i * i % 251);
  constexpr int kClients = 1000 / kCostOfFork;
  Visit(*server, kClients, bytes);
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, uint64_t{kClients});
}

INSTANTIATE_TEST_SUITE_P(With, EmbedderTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
