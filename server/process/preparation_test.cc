// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/preparation.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "brood/server/echo_handler.h"
#include "brood/server/log_level.h"
#include "brood/server/options.h"
#include "brood/server/prepare_process.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::testing::ElementsAre;

// Tests what PrepareProcess() records for the log (O14), for each kind of
// inherited state.
class PreparationTest : public ::brood::testing::LeakCheck {
 protected:
  // Runs `body` in a forked process, which has not been prepared before.
  // Expects that no expectation in it fails.
  static void InFork(absl::FunctionRef<void()> body) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      body();
      std::_Exit(HasFailure() ? 1 : 0);
    }
    int status = -1;
    ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    EXPECT_PRED1(::testing::ExitedWithCode(0), status);
  }

  static rlimit LimitOf(int resource) {
    rlimit limit = {};
    getrlimit(resource, &limit);
    return limit;
  }

  // Gives this process a state that PrepareProcess() neither changes nor
  // reports.
  static void BecomeOrdinary() {
    ASSERT_EQ(setsid(), getpid()) << "no terminal";
    for (const int resource : {RLIMIT_SIGPENDING, RLIMIT_NOFILE}) {
      rlimit equal = LimitOf(resource);
      equal.rlim_cur = equal.rlim_max;
      ASSERT_EQ(setrlimit(resource, &equal), 0);
    }
    const rlimit no_core = {0, LimitOf(RLIMIT_CORE).rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_CORE, &no_core), 0);
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
      std::signal(signal, SIG_DFL);
    }
  }

  // Expects that `expected` is recorded in a process that `spoil` has changed
  // before.
  static void ExpectReport(const std::string& expected,
                           absl::FunctionRef<void()> spoil,
                           const ProcessOptions& options = ProcessOptions()) {
    InFork([&] {
      BecomeOrdinary();
      spoil();
      EXPECT_THAT(PrepareProcess(options), IsOk());
      EXPECT_EQ(Preparation::OfThisProcess().TakeReport(), expected);
    });
  }
};

// Blocks `signals`. A signal that stayed blocked would be recorded in every
// case.
void Block(const std::vector<int>& signals) {
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : signals) sigaddset(&mask, signal);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
}

TEST_F(PreparationTest, HasNothingInAnOrdinaryProcess) {
  ExpectReport("", [] {});
}

TEST_F(PreparationTest, HasNothingIfNothingIsChanged) {
  ExpectReport("", [] {
    std::signal(SIGHUP, SIG_IGN);
    setenv("NOTIFY_SOCKET", "/run/x", 1);
  });
}

TEST_F(PreparationTest, NamesSignalsThatWereBlocked) {
  ExpectReport("unblocked SIGINT, SIGTERM, SIGRTMIN+1", [] {
    Block({SIGTERM, SIGINT, SIGRTMIN + 1});
  });
  ExpectReport("unblocked SIGHUP, SIGINT and 58 others", [] {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
  });
}

TEST_F(PreparationTest, NamesSignalsThatWereIgnored) {
  ExpectReport("SIGTERM was ignored; SIGCHLD was ignored; SIGHUP stays ignored",
               [] {
                 for (const int signal : {SIGTERM, SIGCHLD, SIGHUP}) {
                   std::signal(signal, SIG_IGN);
                 }
               });
}

TEST_F(PreparationTest, NamesDescriptorsThatWereClosed) {
  ExpectReport("opened descriptor 0", [] { close(STDIN_FILENO); });
  ExpectReport("opened descriptors 0, 1", [] {
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
  });
}

TEST_F(PreparationTest, NamesLimitsThatWereRaised) {
  ProcessOptions options;
  options.descriptors = ProcessOptions::kUpToHardLimit;
  ExpectReport(
      "pending signals 10 -> 20; descriptors 100 -> 200",
      [] {
        const rlimit few = {10, 20};
        ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &few), 0);
        const rlimit tight = {100, 200};
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
      },
      options);
}

// Removes the working directory of the process.
void LoseDirectory() {
  std::string path = ::testing::TempDir() + "/gone.XXXXXX";
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  ASSERT_EQ(chdir(path.c_str()), 0);
  ASSERT_EQ(rmdir(path.c_str()), 0);
}

// Gives the process a controlling terminal.
void GetTerminal() {
  const int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_EQ(grantpt(pty), 0);
  ASSERT_EQ(unlockpt(pty), 0);
  const int terminal = open(ptsname(pty), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_EQ(ioctl(terminal, TIOCSCTTY, 0), 0);
}

TEST_F(PreparationTest, NamesWhatIsUnusualIfSomethingElseIsChanged) {
  const struct {
    std::string phrase;
    std::function<void()> spoil;
  } kMembers[] = {
      {"SIGHUP, SIGPIPE stay ignored",
       [] {
         std::signal(SIGHUP, SIG_IGN);
         std::signal(SIGPIPE, SIG_IGN);
       }},
      {"SIGRTMIN, SIGRTMIN+1 and 29 others stay ignored",
       [] {
         for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
           std::signal(signal, SIG_IGN);
         }
       }},
      {"files up to 65536 bytes",
       [] {
         const rlimit small = {65536, RLIM_INFINITY};
         ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
       }},
      {"core files up to 4096 bytes",
       [] {
         const rlimit small = {4096, 4096};
         ASSERT_EQ(setrlimit(RLIMIT_CORE, &small), 0);
       }},
      {"the working directory is gone", LoseDirectory},
      {"variables LISTEN_FDS, BROOD_UPGRADE",
       [] {
         clearenv();
         setenv("LISTEN_FDS", "1", 1);
         setenv("HOME", "/", 1);
         setenv("BROOD_UPGRADE", "x", 1);
       }},
      {"a controlling terminal", GetTerminal},
  };
  for (const auto& member : kMembers) {
    SCOPED_TRACE(member.phrase);
    ExpectReport("unblocked SIGUSR1; " + member.phrase, [&] {
      Block({SIGUSR1});
      member.spoil();
    });
  }
}

TEST_F(PreparationTest, IsLoggedOnceByTheFirstServer) {
  InFork([] {
    BecomeOrdinary();
    Block({SIGUSR1});
    std::signal(SIGHUP, SIG_IGN);
    EXPECT_THAT(PrepareProcess(ProcessOptions()), IsOk());
    std::vector<std::string> events;
    Options options;
    options.listen = {"127.0.0.1:0"};
    options.max_connections = 10;
    options.log.sink = [&](const LogRecord& record) {
      if (record.name != "inherited") return;
      EXPECT_EQ(record.level, LogLevel::kInfo);
      events.emplace_back(std::get<absl::string_view>(record.fields[0].value));
    };
    for (int i = 0; i < 2; ++i) {
      ASSERT_THAT(TcpServer::Create(options, EchoHandler(1024)), IsOk());
    }
    EXPECT_THAT(events, ElementsAre("unblocked SIGUSR1; SIGHUP stays ignored"));
  });
}

}  // namespace
}  // namespace brood::server
