// SPDX-License-Identifier: Apache-2.0

// A child starts with the default signals, with the descriptors that it is
// meant to have, and without output that the parent has not flushed.

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/server/totals.h"
#include "brood/testing/internal/proc_files.h"
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

using server::ExitCode;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

class HygieneTest : public StrategyTest {};

// Serves until the client closes its connection.
ExitCode AwaitClient(net::Connection& connection) {
  char byte;
  while (net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok()) {
  }
  return ExitCode::kServed;
}

// The handlers of atexit take no argument.
Shared<std::atomic<int>>* exits = nullptr;

TEST_P(HygieneTest, DoesNotRepeatWhatTheParentHadPrintedOrRegistered) {
  const int file = memfd_create("stdout", MFD_CLOEXEC);
  fcntl(file, F_SETFL, O_APPEND);  // or children may overwrite each other
  Shared<std::atomic<int>> exit_handlers_run;
  exits = &exit_handlers_run;
  TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
  setup.before = [&] {
    dup2(file, STDOUT_FILENO);
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    std::printf("parent\n");  // not flushed
    std::atexit([] { ++**exits; });
  };
  setup.handler = [](net::Connection& connection) {
    std::printf("child\n");  // flushed when the child ends
    return Reply(connection, "hello");
  };
  const auto server = StartServer(std::move(setup));
  constexpr int kClients = 200 / kCostOfFork;
  for (int i = 0; i < kClients; ++i) {
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("hello"));
  }
  StopAndExpectClean(*server);  // the server process flushes its own line

  std::string printed(8192, '\0');
  const ssize_t size = pread(file, &printed[0], printed.size(), 0);
  printed.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  const std::vector<std::string> lines =
      absl::StrSplit(printed, '\n', absl::SkipEmpty());
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "parent"), 1);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "child"), kClients);
  EXPECT_EQ(lines.size(), size_t{kClients + 1});
  EXPECT_EQ(*exit_handlers_run, 0) << "in a child, or in the server process";
  close(file);
}

TEST_P(HygieneTest, EndsOnlyTheChildOfAClientThatHasGone) {
  TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
  // Calls write() without a limit, as a careless handler does.
  setup.handler = [](net::Connection& connection) {
    const std::string bytes(64 << 10, 'x');
    while (write(connection.fd(), bytes.data(), bytes.size()) > 0) {
    }
    // The first write after a reset fails, the next one raises SIGPIPE.
    while (write(connection.fd(), bytes.data(), bytes.size()) < 0) {
    }
    return ExitCode::kBug;
  };
  const auto server = StartServer(std::move(setup));
  TestClient steady = ConnectTo(*server);
  for (int i = 0; i < 100; ++i) {
    TestClient client = ConnectTo(*server);
    EXPECT_THAT(client.ReadExactly(1000), IsOk());
    client.Reset();
  }
  EXPECT_THAT(steady.ReadExactly(100 << 20 >> 6), IsOk());
  steady.Reset();
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.crashed_by[SIGPIPE], 101u);
  EXPECT_EQ(totals.accepted, 101u);
}

// Returns a set of signals in /proc/PID/status, a bit for each, without the two
// signals that the C library uses, which no program can change through it.
uint64_t SignalsIn(const std::string& status, const std::string& field) {
  const size_t line = status.find(field + ":\t");
  uint64_t signals = 0;
  if (line == std::string::npos ||
      !absl::SimpleHexAtoi(status.substr(line + field.size() + 2, 16),
                           &signals)) {
    ADD_FAILURE() << "no " << field << " in " << status;
  }
  return signals & ~(uint64_t{3} << (32 - 1));
}

// The signals that are ignored in a child: those that ask a server for an
// upgrade must not end its children.
constexpr uint64_t kIgnoredInChild =
    uint64_t{1} << (SIGHUP - 1) | uint64_t{1} << (SIGUSR2 - 1);

TEST_P(HygieneTest, StartsChildrenWithNoSignalBlockedOrHandledAndTwoIgnored) {
  TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
  setup.before = [] {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, nullptr);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGUSR1, [](int) {});
    signal(SIGRTMIN + 3, [](int) {});
  };
  setup.handler = [](net::Connection& connection) {
    return Reply(connection, ReadProcFile("/proc/self/status"));
  };
  const auto server = StartServer(std::move(setup));
  const absl::StatusOr<std::string> status = ConnectTo(*server).ReadUntilEof();
  ASSERT_THAT(status, IsOk());
  for (const char* field : {"SigBlk", "SigCgt", "SigPnd", "ShdPnd"}) {
    EXPECT_EQ(SignalsIn(*status, field), 0u) << field;
  }
  EXPECT_EQ(SignalsIn(*status, "SigIgn"), kIgnoredInChild);
  StopAndExpectClean(*server);
}

TEST_P(HygieneTest,
       GivesChildrenTheirConnectionAndTheEmbeddersDescriptorsOnly) {
  // The descriptors of the embedder and what they refer to, because a child may
  // have the same number for something else.
  std::map<int, std::string> given;
  std::vector<int> opened;
  TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
  // The log has a descriptor of its own for its pipe, which must be closed too.
  setup.options.log.level = server::LogLevel::kInfo;
  setup.options.listen = {"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"};
  setup.options.pool.workers = 30;
  setup.before = [&] {
    for (int i = 0; i < 100; ++i) {
      opened.push_back(open("/dev/null", O_RDONLY));  // inheritable
    }
    for (int fd : DescriptorsOf("self")) given[fd] = WhatIs(fd);
  };
  setup.handler = [&](net::Connection& connection) {
    std::vector<int> strange;
    for (int fd : DescriptorsOf("self")) {
      const auto known = given.find(fd);
      if (fd != connection.fd() &&
          (known == given.end() || known->second != WhatIs(fd))) {
        strange.push_back(fd);
      }
    }
    const auto missing =
        std::count_if(opened.begin(), opened.end(),
                      [](int fd) { return fcntl(fd, F_GETFD) < 0; });
    Reply(connection,
          absl::StrCat("strange ", strange.size(), " missing ", missing, "\n"));
    return AwaitClient(connection);
  };
  const auto server = StartServer(std::move(setup));
  // A worker keeps the descriptors by which it gets its next connection.
  ExpectRest(*server);
  const std::string expected =
      absl::StrCat("strange ", row().own_descriptors, " missing 0\n");
  std::vector<TestClient> clients;
  for (int i = 0; i < 30; ++i) {
    // The connection stays open, so that siblings have connections too.
    clients.push_back(ConnectTo(*server));
    EXPECT_THAT(clients.back().ExpectReply(expected), IsOk());
  }
  clients.clear();
  StopAndExpectClean(*server);
}

// A program that a handler executes has neither descriptors of the server nor
// the signal settings of the server.
TEST_P(HygieneTest, GivesProgramsTheirConnectionAndInheritableDescriptorsOnly) {
  // Whether each number is inheritable, the standard descriptors among them.
  Shared<std::array<std::atomic<bool>, 1024>> given;
  TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
  setup.options.log.level = server::LogLevel::kInfo;
  setup.options.listen = {"127.0.0.1:0", "127.0.0.1:0"};
  setup.options.pool.workers = 4;
  setup.before = [&] {
    signal(SIGUSR1, [](int) {});
    for (int fd : DescriptorsOf("self")) {
      given->at(static_cast<size_t>(fd)) =
          (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
    }
  };
  setup.handler = [](net::Connection& connection) {
    // As inetd does. The exec closes the number of the connection itself.
    dup2(connection.fd(), STDIN_FILENO);
    dup2(connection.fd(), STDOUT_FILENO);
    execlp("cat", "cat", nullptr);
    return ExitCode::kSystemRefused;
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 200 / kCostOfFork; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Echo("hello"), IsOk()) << "the program is not cat";
    const std::string pid = absl::StrCat(AwaitServing(*server, 1).at(0));
    const std::vector<int> open = DescriptorsOf(pid);
    EXPECT_THAT(open, IsSupersetOf({0, 1, 2}));
    EXPECT_TRUE(std::all_of(open.begin(), open.end(), [&](int fd) {
      return given->at(static_cast<size_t>(fd)).load();
    })) << ::testing::PrintToString(open);
    const std::string status = ReadProcFile("/proc/" + pid + "/status");
    for (const char* field : {"SigBlk", "SigCgt"}) {
      EXPECT_EQ(SignalsIn(status, field), 0u) << field;
    }
    EXPECT_EQ(SignalsIn(status, "SigIgn"), kIgnoredInChild);
    client.Close();
  }
  StopAndExpectClean(*server);
}

// Sends many signals to the parent and to each child that is just starting. The
// parent handles them; a child must be killed by the first one. So is a zygote,
// which is created again, and needs a moment without a signal to fork a child.
TEST_P(HygieneTest, RunsNoSignalHandlerOfTheParentInAChild) {
  struct Runs {
    std::atomic<int> in_parent, in_children;
    std::atomic<pid_t> parent;
  };
  static Shared<Runs>* runs;
  Shared<Runs> shared;
  runs = &shared;
  TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
  setup.before = [] {
    setpgid(0, 0);
    (*runs)->parent = getpid();
    signal(SIGUSR1, [](int) {
      ++(getpid() == (*runs)->parent ? (*runs)->in_parent
                                     : (*runs)->in_children);
    });
  };
  setup.options.children = server::ChildGroup::kInherit;
  setup.handler = AwaitClient;
  const auto server = StartServer(std::move(setup));
  const int clients = row().forks_itself ? 300 / kCostOfFork : 10;
  for (int i = 0; i < clients; ++i) {
    TestClient client = ConnectTo(*server);
    pollfd ended = {client.socket().fd(), POLLIN, 0};
    const net::Instant deadline = net::After(net::Now(), absl::Seconds(10));
    while (poll(&ended, 1, 0) == 0 && net::Now() < deadline) {
      kill(-server->pid(), SIGUSR1);
      if (!row().forks_itself) LetPass(absl::Milliseconds(5));
    }
    ASSERT_THAT(client.ExpectEof(), IsOk())
        << "child " << i << " was not killed";
  }
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(shared->in_children, 0);
  EXPECT_GE(shared->in_parent, clients);
  EXPECT_EQ(totals.crashed_by[SIGUSR1], static_cast<uint64_t>(clients));
}

TEST_P(HygieneTest, RefusesToServeWithThreadsAndServesWithoutThem) {
  if (!row().refuses_threads) {
    GTEST_SKIP() << "see ServesInAProcessWithThreads";
  }
  TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
  setup.run = [](server::TcpServer& server) {
    std::atomic<bool> ended{false};
    std::thread thread([&] {
      while (!ended) LetPass(absl::Milliseconds(1));
    });
    EXPECT_THAT(server.Run(),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr("2 threads"),
                               HasSubstr("StrategyKind::kZygote"))));
    EXPECT_THAT(server.Step(absl::ZeroDuration()),
                StatusIs(absl::StatusCode::kFailedPrecondition));
    ended = true;
    thread.join();
    // A joined thread is in the kernel's list for a moment longer.
    EXPECT_TRUE(Await([] { return ThreadsOf("self").size() == 1; }));
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  StopAndExpectClean(*server);
}

TEST_P(HygieneTest, ServesInAProcessWithThreads) {
  if (row().refuses_threads)
    GTEST_SKIP() << "the test before is for this strategy";
  TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
  setup.run = [](server::TcpServer& server) {
    std::atomic<bool> ended{false};
    std::thread thread([&] {
      while (!ended) LetPass(absl::Milliseconds(1));
    });
    absl::Status stopped = server.Run();
    ended = true;
    thread.join();
    return stopped;
  };
  setup.handler = [](net::Connection& connection) {
    return Reply(connection, absl::StrCat(ThreadsOf("self").size()));
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("1"));
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 10u);
}

INSTANTIATE_TEST_SUITE_P(With, HygieneTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
