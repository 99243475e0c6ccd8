// SPDX-License-Identifier: Apache-2.0

// The program is started in unusual processes (O14), with each strategy: it
// serves, can be stopped, and logs in one line what it changed.
//
// Cases that are tried here: every signal blocked; all real-time
// signals ignored; every signal ignored that can be; both; without descriptors
// 0, 1 or 2; a soft limit of descriptors below the hard one; low hard limits; a
// working directory that is gone; variables of a service manager that are for
// another process. An upgrade passes on the limit that the first program had.

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"
#include "brood/server/strategy_kind.h"
#include "brood/testing/internal/log_lines.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/support/subreaper.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr absl::Duration kTimeout = absl::Seconds(20);

class InheritanceTest : public LeakCheck,
                        public ::testing::WithParamInterface<StrategyRow> {
 protected:
  ~InheritanceTest() override {
    if (pid_ > 0) kill(pid_, SIGKILL);
    while (waitpid(-1, nullptr, __WALL) > 0) {
    }
  }

  // Starts the program in a process that `spoil` has changed. The log goes to
  // descriptor 2, unless `spoil` closes that.
  void Start(const std::function<void()>& spoil) {
    net::Socket log_end;
    auto log = LogLines::Create(&log_end);
    ASSERT_THAT(log, IsOk());
    log_ = *std::move(log);
    const std::string program = ServerProgram::Path();
    const std::string strategy = absl::StrCat("--strategy=", GetParam().name());
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      dup2(log_end.fd(), STDERR_FILENO);
      spoil();
      execl(program.c_str(), program.c_str(), "--listen=127.0.0.1:0",
            "--log_format=json", "--max_spares=4", "--workers=4",
            strategy.c_str(), nullptr);
      _exit(127);
    }
    log_end.Close();
    const auto listening = log_.AwaitEvent("listening", kTimeout);
    ASSERT_THAT(listening, IsOk());
    const auto endpoint =
        net::Endpoint::Parse(listening->Text("brood.listener"));
    ASSERT_THAT(endpoint, IsOk());
    endpoint_ = *endpoint;
  }

  void ExpectServes() const {
    for (int i = 0; i < 3; ++i) {
      auto client = TestClient::Connect(endpoint_);
      ASSERT_THAT(client, IsOk());
      EXPECT_THAT(client->Echo("hello"), IsOk());
    }
  }

  // Stops the program and expects that it exits with 0.
  void Stop() {
    ASSERT_EQ(kill(pid_, SIGTERM), 0);
    int status = -1;
    ASSERT_TRUE(Await([&] { return waitpid(pid_, &status, WNOHANG) == pid_; },
                      kTimeout))
        << log_.All();
    pid_ = 0;
    EXPECT_PRED1(::testing::ExitedWithCode(0), status) << log_.All();
  }

  // Serves and stops. Returns the text of the line, or an empty text if there
  // is no such line.
  std::string RunAndTakeReport(const std::function<void()>& spoil) {
    Start(spoil);
    if (HasFatalFailure()) return "";
    ExpectServes();
    Stop();
    const std::vector<LoggedEvent> events = EventsOf(log_.All(), "inherited");
    EXPECT_LE(events.size(), 1u);
    return events.empty() ? "" : events[0].Text("brood.inherited");
  }

  LogLines log_;
  pid_t pid_ = 0;
  net::Endpoint endpoint_;

 private:
  const Subreaper subreaper_;
};

INSTANTIATE_TEST_SUITE_P(With, InheritanceTest, EachStrategy(), StrategyName());

void BlockAll() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
}

void IgnoreFrom(int first) {
  for (int signal = first; signal <= SIGRTMAX; ++signal) {
    std::signal(signal, SIG_IGN);
  }
}

TEST_P(InheritanceTest, EverySignalBlocked) {
  EXPECT_THAT(RunAndTakeReport(BlockAll),
              HasSubstr("unblocked SIGHUP, SIGINT and 58 others"));
}

TEST_P(InheritanceTest, EveryRealTimeSignalIgnored) {
  EXPECT_THAT(RunAndTakeReport([] {
                BlockAll();
                IgnoreFrom(SIGRTMIN);
              }),
              HasSubstr("SIGRTMIN, SIGRTMIN+1 and 29 others stay ignored"));
}

TEST_P(InheritanceTest, EverySignalIgnoredAndBlocked) {
  EXPECT_THAT(
      RunAndTakeReport([] {
        BlockAll();
        IgnoreFrom(1);
      }),
      AllOf(HasSubstr("SIGTERM was ignored"), HasSubstr("SIGUSR2 was ignored"),
            HasSubstr("SIGCHLD was ignored")));
}

TEST_P(InheritanceTest, WithoutStandardInputAndOutput) {
  EXPECT_THAT(RunAndTakeReport([] {
                close(STDIN_FILENO);
                close(STDOUT_FILENO);
              }),
              HasSubstr("opened descriptors 0, 1"));
}

TEST_P(InheritanceTest, ASoftLimitBelowTheHardOne) {
  const auto soft = [] {
    const rlimit limit = {50, 300};
    setrlimit(RLIMIT_NOFILE, &limit);
  };
  EXPECT_THAT(RunAndTakeReport(soft), HasSubstr("descriptors 50 -> 300"));
  EXPECT_THAT(EventsOf(log_.All(), "descriptors-short"), IsEmpty());
}

TEST_P(InheritanceTest, LowHardLimits) {
  const auto low = [] {
    const rlimit few = {24, 24};
    setrlimit(RLIMIT_NOFILE, &few);
    const rlimit none = {4, 4};
    setrlimit(RLIMIT_SIGPENDING, &none);
    const rlimit small = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_FSIZE, &small);
  };
  EXPECT_THAT(RunAndTakeReport(low), Not(HasSubstr("descriptors 24")));
  EXPECT_THAT(EventsOf(log_.All(), "descriptors-short"), SizeIs(1));
  EXPECT_THAT(EventsOf(log_.All(), "signal-queue-too-small"), SizeIs(1));
}

TEST_P(InheritanceTest, ARemovedDirectory) {
  std::string path = ::testing::TempDir() + "/gone.XXXXXX";
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  EXPECT_THAT(RunAndTakeReport([&] {
                BlockAll();
                if (chdir(path.c_str()) < 0 || rmdir(path.c_str()) < 0) {
                  _exit(1);
                }
              }),
              HasSubstr("the working directory is gone"));
}

TEST_P(InheritanceTest, VariablesForAnotherProcess) {
  EXPECT_THAT(RunAndTakeReport([] {
                BlockAll();
                setenv("LISTEN_PID", "1", 1);
                setenv("LISTEN_FDS", "1", 1);
              }),
              HasSubstr("LISTEN_PID, LISTEN_FDS"));
}

TEST_P(InheritanceTest, PassesOnTheLimitOfTheFirstProgramInAnUpgrade) {
  Start([] {
    const rlimit limit = {50, 300};
    setrlimit(RLIMIT_NOFILE, &limit);
  });
  pid_t newest = pid_;
  for (int upgrades = 1; upgrades <= 2; ++upgrades) {
    ASSERT_EQ(kill(newest, SIGUSR2), 0);
    const auto upgraded = log_.AwaitEvent("upgrade-completed", kTimeout);
    ASSERT_THAT(upgraded, IsOk());
    newest = static_cast<pid_t>(upgraded->Number("brood.child.pid"));
    const std::vector<LoggedEvent> events =
        EventsOf(log_.All(), "inherited", {{"process.pid", newest}});
    ASSERT_THAT(events, SizeIs(1));
    EXPECT_THAT(events[0].Text("brood.inherited"),
                HasSubstr("descriptors 50 -> 300"));
  }
  rlimit first;
  ASSERT_EQ(prlimit(pid_, RLIMIT_NOFILE, nullptr, &first), 0);
  EXPECT_EQ(first.rlim_cur, 300u) << "was lowered for a moment";
  ExpectServes();
  Stop();
}

// The program starts without descriptor 2, to which it would write its log.
TEST_P(InheritanceTest, WithoutStandardError) {
  int lines[2];
  ASSERT_EQ(pipe(lines), 0);
  pid_ = fork();
  ASSERT_GE(pid_, 0);
  if (pid_ == 0) {
    dup2(lines[1], STDOUT_FILENO);
    close(lines[0]);
    close(lines[1]);
    close(STDIN_FILENO);
    close(STDERR_FILENO);
    const std::string program = ServerProgram::Path();
    execl(program.c_str(), program.c_str(), "--listen=127.0.0.1:0", nullptr);
    _exit(127);
  }
  close(lines[1]);
  char line[64] = {};
  ASSERT_GT(read(lines[0], line, sizeof(line) - 1), 0);
  close(lines[0]);
  std::string text = line;
  text = text.substr(0, text.find('\n')).substr(text.find(' ') + 1);
  const auto endpoint = net::Endpoint::Parse(text);
  ASSERT_THAT(endpoint, IsOk()) << line;
  endpoint_ = *endpoint;
  ExpectServes();
  Stop();
}

}  // namespace
}  // namespace brood::testing
