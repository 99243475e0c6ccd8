// SPDX-License-Identifier: Apache-2.0

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "brood/proc/launch/launcher.h"
#include "brood/proc/spawn.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/launcher_harness.h"
#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::LauncherTest;
using ::brood::testing::RefuseCalls;
using ::brood::testing::StatusIs;
using ::testing::ExitedWithCode;
using ::testing::StartsWith;

class LauncherErrorsTest : public LauncherTest {};

// The client sends before it reads: without a wait for its end the kernel would
// reset the connection.
TEST_F(LauncherErrorsTest, ReportsAProgramThatCannotBeExecuted) {
  Launcher launcher(SIGCHLD, {}, Missing());
  for (int i = 0; i < 3; ++i) {
    const Running running = Start(launcher);
    ASSERT_NE(running.pid, 0);
    EXPECT_EQ(write(running.client, "request", 7), 7);
    shutdown(running.client, SHUT_WR);
    char byte;
    EXPECT_EQ(read(running.client, &byte, 1), 0) << errno;
    close(running.client);
    EXPECT_PRED1(ExitedWithCode(111), Wait(running.pid));
    EXPECT_THAT(launcher.TakeError(running.pid),
                StatusIs(absl::StatusCode::kNotFound,
                         "the program cannot be executed: execve "
                         "/no/such/program: No such file or directory"));
    EXPECT_THAT(launcher.TakeError(running.pid), IsOk()) << "taken";
  }
}

// After execve() the kernel sends SIGCHLD, whatever the exit signal was.
TEST_F(LauncherErrorsTest, NotifiesOfAnEndBeforeTheProgramByTheExitSignal) {
  sigset_t exit_signal, before;
  sigemptyset(&exit_signal);
  sigaddset(&exit_signal, SIGRTMAX);
  sigprocmask(SIG_BLOCK, &exit_signal, &before);
  Launcher launcher(SIGRTMAX, {}, Execute({kMissing}));
  const Running running = Start(launcher);
  ASSERT_NE(running.pid, 0);
  close(running.client);
  siginfo_t info;
  EXPECT_EQ(sigwaitinfo(&exit_signal, &info), SIGRTMAX);
  EXPECT_EQ(info.si_pid, running.pid);
  Wait(running.pid);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

// The client need not end first.
TEST_F(LauncherErrorsTest, EndsTheConnectionOfAProgramThatCannotBeExecuted) {
  Launcher launcher(SIGCHLD, {}, Missing());
  const Running running = Start(launcher);
  ASSERT_NE(running.pid, 0);
  char byte;
  EXPECT_EQ(read(running.client, &byte, 1), 0);
  close(running.client);
  Wait(running.pid);
}

TEST_F(LauncherErrorsTest, NamesTheStepThatFailed) {
  LaunchedProgram program = Shell("exit 0");
  program.directory = kMissing;
  Launcher launcher(SIGCHLD, {}, program);
  const Running running = Start(launcher);
  ASSERT_NE(running.pid, 0);
  EXPECT_EQ(ReadAll(running), "");
  EXPECT_PRED1(ExitedWithCode(111), Wait(running.pid));
  EXPECT_THAT(launcher.TakeError(running.pid),
              StatusIs(absl::StatusCode::kNotFound, StartsWith("chdir for")));
}

TEST_F(LauncherErrorsTest, KnowsNoErrorOfAnotherProcess) {
  Launcher launcher(SIGCHLD, {}, Shell("exit 0"));
  EXPECT_THAT(launcher.TakeError(getpid()), IsOk());
}

// A process that has not executed its program holds its area: here because its
// client goes on. The parent does not wait for it.
TEST_F(LauncherErrorsTest, LaunchesNothingWhileEveryAreaIsHeld) {
  Launcher launcher(SIGCHLD, {}, Missing());
  std::vector<Running> held;
  for (int i = 0; i < 32; ++i) {
    held.push_back(Start(launcher));
    ASSERT_NE(held.back().pid, 0) << i;
  }
  EXPECT_FALSE(Launches(launcher));
  for (const Running& each : held) close(each.client);
  for (const Running& each : held) {
    EXPECT_PRED1(ExitedWithCode(111), Wait(each.pid));
  }
  EXPECT_FALSE(Launches(launcher)) << "the errors have not been taken";
  for (const Running& each : held) {
    EXPECT_THAT(launcher.TakeError(each.pid),
                StatusIs(absl::StatusCode::kNotFound));
  }
  EXPECT_TRUE(Launches(launcher));
}

TEST_F(LauncherErrorsTest, LeavesItsAreasToAProcessThatUsesThem) {
  auto launcher =
      std::make_unique<Launcher>(SIGCHLD, ChildSettings(), Missing());
  const Running running = Start(*launcher);
  ASSERT_NE(running.pid, 0);
  launcher.reset();
  close(running.client);
  EXPECT_PRED1(ExitedWithCode(111), Wait(running.pid));
}

TEST_F(LauncherErrorsTest, LaunchesNothingWithTooLargeAnEnvironment) {
  Launcher launcher(SIGCHLD, {}, Shell("exit 0"));
  std::string largest = "A=" + std::string(8192 - 3, 'x');
  char* const fits[] = {&largest[0], nullptr};
  EXPECT_TRUE(Launches(launcher, fits));
  largest += 'x';
  char* const too_large[] = {&largest[0], nullptr};
  EXPECT_FALSE(Launches(launcher, too_large));

  char small[] = "B=";
  std::vector<char*> many(128, small);
  many.push_back(nullptr);
  EXPECT_TRUE(Launches(launcher, many.data()));
  many.insert(many.begin(), small);
  EXPECT_FALSE(Launches(launcher, many.data()));
}

// The launched process has the errno of this thread, and must not write to it.
TEST_F(LauncherErrorsTest, DoesNotChangeErrnoOfTheParent) {
  Launcher launcher(SIGCHLD, {}, Execute({kMissing}));
  const Running running = Start(launcher);
  errno = 77;
  siginfo_t info;
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(running.pid), &info,
                   WEXITED | WNOWAIT | __WALL),
            0);
  EXPECT_EQ(errno, 77);
  close(running.client);
  Wait(running.pid);
}

// Runs `body` in a process of its own, in which clone3 fails with `error`.
template <typename Body>
void WithFailingClone3(int error, Body body) {
  const pid_t pid = fork();
  if (pid == 0) {
    RefuseCalls({SYS_clone3}, error);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) _exit(2);
    _exit(body(pair[1]) ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
  EXPECT_PRED1(ExitedWithCode(0), status);
}

TEST_F(LauncherErrorsTest, LaunchesNothingWhereTheKernelRefuses) {
  for (const int error : {ENOSYS, EPERM, EINVAL}) {
    WithFailingClone3(error, [](int connection) {
      Launcher launcher(SIGCHLD, {}, Shell("exit 0"));
      return !launcher.Launch(connection, kEmpty) &&
             !launcher.Launch(connection, kEmpty);
    });
  }
}

TEST_F(LauncherErrorsTest, ReportsAShortageAndGoesOn) {
  for (const int error : {EAGAIN, ENOMEM}) {
    WithFailingClone3(error, [](int connection) {
      Launcher launcher(SIGCHLD, {}, Shell("exit 0"));
      for (int i = 0; i < 100; ++i) {  // more than there are areas
        const auto child = launcher.Launch(connection, kEmpty);
        if (!child || child->ok()) return false;
        if (child->status().message().find("clone3: ") != 0) return false;
      }
      return true;
    });
  }
}

TEST_F(LauncherErrorsTest, LaunchesNothingWithoutCloseRange) {
  const pid_t pid = fork();
  if (pid == 0) {
    RefuseCalls({SYS_close_range}, ENOSYS);
    Launcher launcher(SIGCHLD, {}, Shell("exit 0"));
    _exit(launcher.Launch(STDIN_FILENO, kEmpty) ? 1 : 0);
  }
  EXPECT_PRED1(ExitedWithCode(0), Wait(pid));
}

}  // namespace
}  // namespace brood::proc
