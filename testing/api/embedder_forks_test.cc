// SPDX-License-Identifier: Apache-2.0
//
// The server has no effect on processes that the embedder forks: they end as
// they would without the server, and a server object in them does nothing.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/config.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/tcp_server.h"
#include "brood/server/totals.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#ifdef ABSL_HAVE_ADDRESS_SANITIZER
// Turns leak detection off in this program. In a fork of the embedder it would
// report memory to which only parent-only memory refers, because that is not
// mapped there.
extern "C" int __lsan_is_turned_off() {  // NOLINT(bugprone-reserved-identifier)
  return 1;
}
#endif

namespace brood::testing {
namespace {

using server::ExitCode;
using server::TcpServer;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class EmbedderForksTest : public StrategyTest {
 protected:
  // Expects that `server` serves a client and stops in order.
  TestServer::Report ExpectServesOneClient(TestServer& server) {
    TestClient client = ConnectTo(server);
    EXPECT_THAT(client.Echo("x"), IsOk());
    client.Close();
    TestServer::Report report = StopAndExpectClean(server);
    EXPECT_EQ(report.totals.ended_ok, 1u);
    return report;
  }
};

INSTANTIATE_TEST_SUITE_P(With, EmbedderForksTest, EachStrategy(),
                         StrategyName());

// Runs `body` in a fork, and returns the wait status of that process.
int WaitStatusOfFork(absl::FunctionRef<int()> body) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) std::_Exit(body());
  int status = -1;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
  return status;
}

// Counts the ends of processes that run what the program registered.
Shared<std::atomic<int>>* at_exit = nullptr;

// Returns the number of bytes that a process that calls exit(5) has left in a
// file which it did not flush, and expects that it ran the handlers of atexit.
off_t BytesKeptByAProcessThatExits() {
  std::FILE* file = std::tmpfile();
  EXPECT_NE(file, nullptr);
  const int before = **at_exit;
  const int status = WaitStatusOfFork([&]() -> int {
    std::fputs("not flushed", file);
    std::exit(5);
  });
  EXPECT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 5);
  EXPECT_EQ(**at_exit, before + 1);
  struct stat written = {};
  EXPECT_EQ(fstat(fileno(file), &written), 0);
  std::fclose(file);
  return written.st_size;
}

TEST_P(EmbedderForksTest, ExitAsWithoutAServer) {
  Shared<std::atomic<int>> exits;
  at_exit = &exits;
  TestServer::Setup setup;
  setup.before = [] {
    EXPECT_EQ(std::atexit([] { ++**at_exit; }), 0);
    EXPECT_EQ(BytesKeptByAProcessThatExits(), 11);
  };
  setup.handler = [](net::Connection& connection) -> ExitCode {
    const ExitCode code = ReplyWithPid(connection);
    std::exit(static_cast<int>(code));
  };
  setup.run = [](TcpServer& server) {
    EXPECT_THAT(server.Step(), IsOk());
    EXPECT_EQ(BytesKeptByAProcessThatExits(), 11);
    const absl::Status stopped = server.Run();
    EXPECT_EQ(BytesKeptByAProcessThatExits(), 11);
    return stopped;
  };
  setup.after = [] { EXPECT_EQ(BytesKeptByAProcessThatExits(), 11); };
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOk());
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
  // The process of the handler did not run the exit handlers of the program.
  EXPECT_EQ(*exits, 4);
}

// Uses each call of a server in a process that did not create it.
void ExpectInert(TcpServer& server) {
  EXPECT_TRUE(absl::IsFailedPrecondition(server.Run()));
  EXPECT_TRUE(absl::IsFailedPrecondition(server.Step().status()));
  EXPECT_THAT(server.Step().status().message(), HasSubstr("daemon()"));
  EXPECT_TRUE(absl::IsFailedPrecondition(server.PollableFd().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(server.BeginGeneration()));
  server.RequestDrain();
  server.RequestUpgrade();
  EXPECT_EQ(server.totals().accepted, 0u);
  EXPECT_EQ(server.upgrades_failed(), 0u);
  EXPECT_EQ(server.log_lines_dropped(), 0u);
  EXPECT_FALSE(server.endpoints().empty());
}

TEST_P(EmbedderForksTest, HoldAServerThatDoesNothing) {
  // A server that stops still serves clients that have connected, so the test's
  // client connects after the turn in which the server takes requests.
  Shared<std::atomic<bool>> turned;
  TestServer::Setup setup;
  setup.run = [&](TcpServer& server) {
    EXPECT_THAT(server.Step(), IsOk());
    EXPECT_EQ(WaitStatusOfFork([&] {
                ExpectInert(server);
                return 0;
              }),
              0);
    EXPECT_THAT(server.Step(), IsOk());
    *turned = true;
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  // The requests in the fork do not reach the server.
  ASSERT_TRUE(Await([&] { return turned->load(); }));
  const TestServer::Report report = ExpectServesOneClient(*server);
  EXPECT_THAT(EventsOf(report.log, "upgrade-ignored"), IsEmpty());
}

// Does the same as `if (fork() == 0) return ChildMain();` with a server in
// scope.
TEST_P(EmbedderForksTest, DestroyAServerWithoutAnyEffect) {
  TestServer::Setup setup;
  setup.run = [](TcpServer& server) {
    EXPECT_THAT(server.Step(), IsOk());
    server::Options options;
    options.listen = {"127.0.0.1:0"};
    options.strategy = row().strategy;
    auto second = TcpServer::Create(options, server::EchoHandler(64));
    EXPECT_THAT(second, IsOk());
    EXPECT_THAT((*second)->Step(), IsOk());
    EXPECT_EQ(WaitStatusOfFork([&]() -> int {
                second->reset();
                std::exit(0);
              }),
              0);
    EXPECT_THAT((*second)->Step(), IsOk());
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  ExpectServesOneClient(*server);
}

// daemon() between Create() and Run(): the process that created the server has
// ended, and in the daemon Run() returns FailedPrecondition.
TEST_P(EmbedderForksTest, ReturnFailedPreconditionIfADaemonServes) {
  Shared<std::atomic<int>> verdict;
  TestServer::Setup setup;
  setup.run = [&](TcpServer& server) {
    WaitStatusOfFork([&] {
      if (daemon(/*nochdir=*/1, /*noclose=*/1) < 0) return 1;
      const absl::Status run = server.Run();
      *verdict = absl::IsFailedPrecondition(run) ? 1 : 2;
      return 0;
    });
    EXPECT_TRUE(Await([&] { return *verdict != 0; }));
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  ExpectServesOneClient(*server);
  EXPECT_EQ(*verdict, 1);
}

// Returns the set of signals in the line `field` of /proc/self/status of a
// program that the embedder starts.
uint64_t SignalsOfAProgram(const std::string& field) {
  const std::string command = "sed -n s/^" + field + ":.//p /proc/self/status";
  std::FILE* output = popen(command.c_str(), "r");
  EXPECT_NE(output, nullptr);
  uint64_t signals = ~uint64_t{0};
  EXPECT_EQ(std::fscanf(output, "%lx", &signals), 1);
  pclose(output);
  // Leaves out the two signals of the C library, which no program can change.
  return signals & ~(uint64_t{3} << (32 - 1));
}

TEST_P(EmbedderForksTest, StartProgramsThatHaveTheSignalsAsTheyWere) {
  TestServer::Setup setup;
  // Every option that uses signals, except owns_all_children.
  setup.options.upgrade.command = {"/bin/false"};
  setup.run = [](TcpServer& server) {
    EXPECT_THAT(server.Step(), IsOk());
    // At most the exit signal, which is a real-time signal.
    uint64_t blocked = SignalsOfAProgram("SigBlk");
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
      const uint64_t bit = uint64_t{1} << (signal - 1);
      if ((blocked & bit) == 0) continue;
      blocked &= ~bit;
      break;
    }
    EXPECT_EQ(blocked, 0u);
    EXPECT_EQ(SignalsOfAProgram("SigIgn"), 0u);
    return server.Run();
  };
  setup.after = [] { EXPECT_EQ(SignalsOfAProgram("SigBlk"), 0u); };
  const auto server = StartServer(std::move(setup));
  StopAndExpectClean(*server);
}

// The fork creates a server, with a copy of the other server in scope.
TEST_P(EmbedderForksTest, CreateServersOfTheirOwn) {
  TestServer::Setup setup;
  setup.run = [](TcpServer& server) {
    EXPECT_THAT(server.Step(), IsOk());
    EXPECT_EQ(WaitStatusOfFork([&] {
                server::Options options;
                options.listen = {"127.0.0.1:0"};
                options.strategy = row().strategy;
                options.log.level = server::LogLevel::kOff;
                auto own = TcpServer::Create(options, ReplyWithPid);
                if (!own.ok()) return 1;
                auto client = TestClient::Connect((*own)->endpoints()[0]);
                if (!client.ok()) return 2;
                while ((*own)->totals().accepted == 0) {
                  if (!(*own)->Step(absl::Seconds(1)).ok()) return 3;
                }
                if (!client->ReadUntilEof().ok()) return 4;
                raise(SIGTERM);
                if (!(*own)->Run().ok()) return 5;
                return (*own)->totals().ended_ok == 1 ? 0 : 6;
              }),
              0);
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  ExpectServesOneClient(*server);
}

}  // namespace
}  // namespace brood::testing
