// SPDX-License-Identifier: Apache-2.0

#include "brood/server/prepare_process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "brood/server/echo_handler.h"
#include "brood/server/log_level.h"
#include "brood/server/options.h"
#include "brood/server/process/preparation.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Test;

class PrepareProcessTest : public ::brood::testing::LeakCheck {};

// Runs `body` in a forked process, which has not been prepared before. Expects
// that no expectation in it fails.
void InFork(absl::FunctionRef<void()> body) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    body();
    std::_Exit(Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
  EXPECT_PRED1(::testing::ExitedWithCode(0), status);
}

bool IsBlocked(int signal) {
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

sighandler_t ActionOf(int signal) {
  struct sigaction action;
  sigaction(signal, nullptr, &action);
  return action.sa_handler;
}

rlimit LimitOf(int resource) {
  rlimit limit = {};
  getrlimit(resource, &limit);
  return limit;
}

std::string FileAt(int fd) {
  char path[PATH_MAX] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  return readlink(link.c_str(), path, sizeof(path) - 1) < 0 ? "" : path;
}

ProcessOptions WithDescriptors(int count) {
  ProcessOptions options;
  options.descriptors = count;
  return options;
}

TEST_F(PrepareProcessTest, OpensTheStandardDescriptorsThatAreClosed) {
  for (int closed = 0; closed < 8; ++closed) {
    InFork([closed] {
      const std::string before[] = {FileAt(0), FileAt(1), FileAt(2)};
      for (int fd = 0; fd < 3; ++fd) {
        if ((closed >> fd & 1) != 0) close(fd);
      }
      const absl::Status prepared = PrepareProcess(ProcessOptions());
      // Standard error may be /dev/null now.
      if (!prepared.ok()) std::_Exit(2);
      for (int fd = 0; fd < 3; ++fd) {
        const bool was_closed = (closed >> fd & 1) != 0;
        EXPECT_EQ(FileAt(fd), was_closed ? "/dev/null" : before[fd]);
      }
    });
  }
}

TEST_F(PrepareProcessTest, OpensNoDescriptorBeyondTheStandardOnes) {
  InFork([] {
    const int before = dup(STDERR_FILENO);
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    EXPECT_EQ(dup(STDERR_FILENO), before + 1);
  });
}

TEST_F(PrepareProcessTest, BlocksTheRequestSignalsAlone) {
  InFork([] {
    sigset_t inherited;
    sigfillset(&inherited);
    sigdelset(&inherited, SIGTERM);
    sigprocmask(SIG_SETMASK, &inherited, nullptr);
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
      EXPECT_EQ(IsBlocked(signal), signal == SIGTERM || signal == SIGINT ||
                                       signal == SIGHUP || signal == SIGUSR2)
          << signal;
    }
  });
}

TEST_F(PrepareProcessTest, KeepsASignalThatComesBeforeTheServer) {
  InFork([] {
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    raise(SIGTERM);
    Options options;
    options.listen = {"127.0.0.1:0"};
    options.log.level = LogLevel::kOff;
    const auto server = TcpServer::Create(options, EchoHandler(1024));
    ASSERT_THAT(server, IsOk());
    EXPECT_FALSE(IsBlocked(SIGTERM)) << "the server takes it";
    EXPECT_THAT((*server)->Run(), IsOk());
  });
}

TEST_F(PrepareProcessTest, ResetsTheSignalsThatAServerNeedsIfTheyAreIgnored) {
  InFork([] {
    for (const int signal : {SIGTERM, SIGUSR2, SIGCHLD, SIGHUP, SIGINT, SIGQUIT,
                             SIGPIPE, SIGUSR1}) {
      std::signal(signal, SIG_IGN);
    }
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    for (const int signal : {SIGTERM, SIGUSR2, SIGCHLD}) {
      EXPECT_EQ(ActionOf(signal), SIG_DFL) << signal;
    }
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGUSR1}) {
      EXPECT_EQ(ActionOf(signal), SIG_IGN) << signal;
    }
  });
}

// A handler cannot come from the starter, because exec resets handlers.
TEST_F(PrepareProcessTest, LeavesHandlersOfTheProgram) {
  InFork([] {
    const auto handler = [](int /*signal*/) {};
    std::signal(SIGTERM, handler);
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    EXPECT_EQ(ActionOf(SIGTERM), +handler);
  });
}

TEST_F(PrepareProcessTest, RaisesTheLimitOfPendingSignalsToTheHardOne) {
  InFork([] {
    const rlimit few = {10, LimitOf(RLIMIT_SIGPENDING).rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &few), 0);
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    EXPECT_EQ(LimitOf(RLIMIT_SIGPENDING).rlim_cur, few.rlim_max);
    EXPECT_EQ(LimitOf(RLIMIT_SIGPENDING).rlim_max, few.rlim_max);
  });
}

TEST_F(PrepareProcessTest, RaisesTheLimitOfDescriptorsToTheRequestedNumber) {
  InFork([] {
    const rlimit tight = {100, 200};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (const auto& [asked, expected] :
         {std::pair{0, 100}, {50, 100}, {100, 100}, {101, 101}, {200, 200}}) {
      EXPECT_THAT(PrepareProcess(WithDescriptors(asked)), IsOk()) << asked;
      EXPECT_EQ(LimitOf(RLIMIT_NOFILE).rlim_cur, static_cast<rlim_t>(expected))
          << asked;
    }
    EXPECT_EQ(LimitOf(RLIMIT_NOFILE).rlim_max, tight.rlim_max);
  });
}

TEST_F(PrepareProcessTest, ReturnsAnErrorIfTheHardLimitAllowsFewerDescriptors) {
  InFork([] {
    const rlimit tight = {100, 200};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
    EXPECT_THAT(PrepareProcess(WithDescriptors(201)),
                StatusIs(absl::StatusCode::kResourceExhausted,
                         "descriptors=201: the hard limit (RLIMIT_NOFILE) is "
                         "200"));
    EXPECT_EQ(LimitOf(RLIMIT_NOFILE).rlim_cur, tight.rlim_max);
    EXPECT_EQ(ActionOf(SIGTERM), SIG_DFL) << "the other steps were taken";
    EXPECT_TRUE(IsBlocked(SIGTERM));
  });
}

TEST_F(PrepareProcessTest, RefusesANegativeNumberOfDescriptors) {
  InFork([] {
    EXPECT_THAT(PrepareProcess(WithDescriptors(-2)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("descriptors=-2: must be 0")));
  });
}

TEST_F(PrepareProcessTest, RaisesTheLimitOfDescriptorsUpToTheHardOne) {
  InFork([] {
    const rlimit tight = {100, 200};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
    EXPECT_THAT(PrepareProcess(WithDescriptors(ProcessOptions::kUpToHardLimit)),
                IsOk());
    EXPECT_EQ(LimitOf(RLIMIT_NOFILE).rlim_cur, 200u);
    EXPECT_THAT(PrepareProcess(WithDescriptors(ProcessOptions::kUpToHardLimit)),
                IsOk());
    const auto& before = Preparation::OfThisProcess().descriptors_before();
    ASSERT_TRUE(before.has_value());
    EXPECT_EQ(before->rlim_cur, 100u) << "for children";
    EXPECT_EQ(before->rlim_max, 200u);
  });
}

TEST_F(PrepareProcessTest, KeepsNoLimitForChildrenIfItRaisedNone) {
  InFork([] {
    const rlimit equal = {200, 200};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &equal), 0);
    EXPECT_THAT(PrepareProcess(WithDescriptors(ProcessOptions::kUpToHardLimit)),
                IsOk());
    EXPECT_FALSE(Preparation::OfThisProcess().descriptors_before().has_value());
  });
}

// This test is not linked in the way in which code can be moved.
TEST_F(PrepareProcessTest, MovesTheCodeToHugePagesOnlyIfItIsAskedTo) {
  InFork([] {
    ProcessOptions options;
    options.huge_text = true;
    EXPECT_THAT(PrepareProcess(options).message(), HasSubstr("huge text"));
    EXPECT_TRUE(IsBlocked(SIGTERM)) << "the other steps were taken";
    options.huge_text = false;
    EXPECT_THAT(PrepareProcess(options), IsOk());
  });
}

TEST_F(PrepareProcessTest, LeavesTheSignalsAsTheyAreWhenItIsCalledAgain) {
  InFork([] {
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGUSR1);
    sigprocmask(SIG_SETMASK, &own, nullptr);
    std::signal(SIGCHLD, SIG_IGN);
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    EXPECT_TRUE(IsBlocked(SIGUSR1));
    EXPECT_FALSE(IsBlocked(SIGTERM));
    EXPECT_EQ(ActionOf(SIGCHLD), SIG_IGN);
  });
}

TEST_F(PrepareProcessTest, IsNeverCalledByCreate) {
  InFork([] {
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGUSR1);
    sigprocmask(SIG_SETMASK, &own, nullptr);
    std::signal(SIGTERM, SIG_IGN);
    const rlimit few = {100, LimitOf(RLIMIT_SIGPENDING).rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &few), 0);
    const rlimit tight = {100, LimitOf(RLIMIT_NOFILE).rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
    Options options;
    options.listen = {"127.0.0.1:0"};
    options.max_connections = 10;
    options.log.level = LogLevel::kOff;
    const auto server = TcpServer::Create(options, EchoHandler(1024));
    ASSERT_THAT(server, IsOk());
    EXPECT_TRUE(IsBlocked(SIGUSR1));
    EXPECT_EQ(ActionOf(SIGTERM), SIG_IGN);
    EXPECT_EQ(LimitOf(RLIMIT_SIGPENDING).rlim_cur, few.rlim_cur);
    EXPECT_EQ(LimitOf(RLIMIT_NOFILE).rlim_cur, tight.rlim_cur);
  });
}

}  // namespace
}  // namespace brood::server
