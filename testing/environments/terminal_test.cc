// SPDX-License-Identifier: Apache-2.0

// A server in a terminal that is closed, and nohup (O1, O2). With the real
// program on a pseudo terminal. A process of the test takes the place of the
// shell: it leads the session and passes SIGHUP on to its job, as shells do.
//
// Related cases that are tried here: a job in the foreground and in
// the background, a shell that is killed before it passes anything on, SIGHUP
// by an operator while the terminal is open, a server in a session of its own,
// and a server without any terminal.

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"
#include "brood/net/unique_fd.h"
#include "brood/testing/internal/log_lines.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/support/subreaper.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(20);

// How the shell treats its job.
struct Job {
  bool foreground = false;
  bool passes_hangup = true;
  std::vector<int> ignored = {};
  bool own_session = false;
};

class TerminalTest : public LeakCheck {
 protected:
  ~TerminalTest() override {
    if (shell_ > 0) kill(shell_, SIGKILL);
    if (server_ > 0) kill(server_, SIGKILL);
    while (waitpid(-1, nullptr, __WALL) > 0) {
    }
  }

  // Starts a server as the job of a shell on a new terminal.
  void Start(const Job& job) {
    net::Socket log_end;
    auto log = LogLines::Create(&log_end);
    ASSERT_THAT(log, IsOk());
    log_ = *std::move(log);
    terminal_ =
        net::UniqueFd::Adopt(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(terminal_.valid());
    ASSERT_EQ(grantpt(terminal_.fd()), 0);
    ASSERT_EQ(unlockpt(terminal_.fd()), 0);
    const std::string path = ptsname(terminal_.fd());
    shell_ = fork();
    ASSERT_GE(shell_, 0);
    if (shell_ == 0) {
      terminal_.Close();
      RunShell(path, job, log_end.fd());
    }
    log_end.Close();
    const auto listening = log_.AwaitEvent("listening", kTimeout);
    ASSERT_THAT(listening, IsOk());
    server_ = static_cast<pid_t>(listening->Number("process.pid"));
    const auto endpoint =
        net::Endpoint::Parse(listening->Text("brood.listener"));
    ASSERT_THAT(endpoint, IsOk());
    endpoint_ = *endpoint;
  }

  // Closes the terminal, as a window is closed.
  void CloseTerminal() { terminal_.Close(); }

  // Returns the exit code of the server, whose parent is the shell while that
  // lives, and this process later.
  int AwaitServer() {
    int status = -1;
    EXPECT_TRUE(Await(
        [&] {
          if (shell_ > 0 && waitpid(shell_, &status, WNOHANG) == shell_) {
            shell_ = 0;
            return WIFEXITED(status) && WEXITSTATUS(status) != kHungUp;
          }
          return waitpid(server_, &status, WNOHANG) == server_;
        },
        kTimeout))
        << log_.All();
    server_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  void ExpectServes() const {
    auto client = TestClient::Connect(endpoint_);
    ASSERT_THAT(client, IsOk());
    EXPECT_THAT(client->Echo("hello"), IsOk());
  }
  void ExpectPortIsFree() const {
    EXPECT_FALSE(TestClient::Connect(endpoint_).ok());
  }

  LogLines log_;
  pid_t server_ = 0;
  net::Endpoint endpoint_;

 private:
  // The exit code of the shell when it has lost its terminal. Otherwise it
  // exits with the code of its job.
  static constexpr int kHungUp = 77;

  // Runs in the process of the shell.
  [[noreturn]] static void RunShell(const std::string& path, const Job& job,
                                    int log_end) {
    setsid();
    const int terminal = open(path.c_str(), O_RDWR);
    if (ioctl(terminal, TIOCSCTTY, 0) < 0) _exit(3);
    static pid_t job_pid = 0;
    const pid_t pid = fork();
    if (pid == 0) {
      if (job.own_session) {
        setsid();
      } else {
        setpgid(0, 0);
      }
      std::signal(SIGTTOU, SIG_IGN);
      if (job.foreground) tcsetpgrp(terminal, getpid());
      std::signal(SIGTTOU, SIG_DFL);
      for (const int signal : job.ignored) std::signal(signal, SIG_IGN);
      dup2(terminal, STDIN_FILENO);
      dup2(terminal, STDOUT_FILENO);
      dup2(log_end, STDERR_FILENO);
      const std::string program = ServerProgram::Path();
      execl(program.c_str(), program.c_str(), "--listen=127.0.0.1:0",
            "--log_format=json", nullptr);
      _exit(127);
    }
    job_pid = pid;
    close(log_end);
    if (job.passes_hangup) {
      std::signal(SIGHUP, [](int /*signal*/) {
        kill(-job_pid, SIGHUP);
        _exit(kHungUp);
      });
    }
    int status = 0;
    waitpid(pid, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }

  const Subreaper subreaper_;
  net::UniqueFd terminal_;
  pid_t shell_ = 0;
};

TEST_F(TerminalTest, EndsAJobInTheForegroundWithTheTerminal) {
  Start({.foreground = true});
  auto client = TestClient::Connect(endpoint_);
  ASSERT_THAT(client, IsOk());
  EXPECT_THAT(client->Echo("hello"), IsOk());
  CloseTerminal();
  ASSERT_THAT(log_.AwaitEvent("draining", kTimeout), IsOk());
  ASSERT_EQ(kill(server_, SIGHUP), 0) << "like a late SIGHUP of the shell";
  for (int i = 0; i < 100; ++i) {
    ASSERT_THAT(client->Echo("in the grace"), IsOk());
  }
  client->Close();
  EXPECT_EQ(AwaitServer(), 0) << "the server drains and exits";
  ExpectPortIsFree();
  EXPECT_THAT(EventsOf(log_.All(), "upgrade-started"), ::testing::IsEmpty());
  EXPECT_THAT(EventsOf(log_.All(), "terminating"), ::testing::IsEmpty())
      << "SIGHUP of shell and kernel are one request to stop";
}

TEST_F(TerminalTest, EndsAJobInTheBackgroundWithTheTerminal) {
  Start({.foreground = false});
  ExpectServes();
  CloseTerminal();
  EXPECT_EQ(AwaitServer(), 0);
  ExpectPortIsFree();
  EXPECT_THAT(EventsOf(log_.All(), "upgrade-started"), ::testing::IsEmpty());
}

TEST_F(TerminalTest, EndsAJobWhoseShellIsKilled) {
  Start({.foreground = true, .passes_hangup = false});
  ExpectServes();
  CloseTerminal();
  EXPECT_EQ(AwaitServer(), 0);
}

TEST_F(TerminalTest, UpgradesAtSighupWhileTheTerminalIsOpen) {
  Start({.foreground = true});
  ASSERT_EQ(kill(server_, SIGHUP), 0);
  ASSERT_THAT(log_.AwaitEvent("upgrade-completed", kTimeout), IsOk());
  ExpectServes();
  CloseTerminal();
  EXPECT_EQ(AwaitServer(), 0) << "both generations";
  ExpectPortIsFree();
}

TEST_F(TerminalTest, OutlivesTheTerminalUnderNohup) {
  Start({.foreground = true, .ignored = {SIGHUP}});
  CloseTerminal();
  ASSERT_EQ(kill(server_, SIGHUP), 0) << "is ignored, too";
  ExpectServes();
  ASSERT_EQ(kill(server_, SIGUSR2), 0);
  const auto upgraded = log_.AwaitEvent("upgrade-completed", kTimeout);
  ASSERT_THAT(upgraded, IsOk());
  const auto newest = static_cast<pid_t>(upgraded->Number("brood.child.pid"));
  ASSERT_EQ(kill(newest, SIGHUP), 0) << "is ignored after an upgrade as well";
  ExpectServes();
  ASSERT_EQ(kill(server_, SIGTERM), 0);
  EXPECT_EQ(AwaitServer(), 0);
  EXPECT_THAT(EventsOf(log_.All(), "upgrade-started"), ::testing::SizeIs(1));
}

// The signals are ignored as by a shell without job control for a background
// job.
TEST_F(TerminalTest, KeepsAnIgnoredInterruptIgnored) {
  Start({.ignored = {SIGINT, SIGQUIT}});
  ASSERT_EQ(kill(server_, SIGINT), 0);
  ASSERT_EQ(kill(server_, SIGQUIT), 0);
  ExpectServes();
  ASSERT_EQ(kill(server_, SIGTERM), 0) << "always works";
  EXPECT_EQ(AwaitServer(), 0);
}

TEST_F(TerminalTest, OutlivesTheTerminalInASessionOfItsOwn) {
  Start({.passes_hangup = false, .own_session = true});
  CloseTerminal();
  ExpectServes();
  ASSERT_EQ(kill(server_, SIGHUP), 0);
  ASSERT_THAT(log_.AwaitEvent("upgrade-completed", kTimeout), IsOk())
      << "an operator's";
  ExpectServes();
  ASSERT_EQ(kill(server_, SIGTERM), 0);
  EXPECT_EQ(AwaitServer(), 0);
}

}  // namespace
}  // namespace brood::testing
