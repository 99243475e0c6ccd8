// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/fault_injector.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <functional>

#include "absl/status/status.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class FaultInjectorTest : public LeakCheck {
 protected:
  // Forks a process that installs `faults`, and exits with what `body` returns.
  // Returns the exit code.
  static int ExitCodeOf(FaultInjector& faults,
                        const std::function<size_t()>& body) {
    const pid_t pid = fork();
    if (pid == 0) {
      faults.Install();
      _exit(static_cast<int>(body()));
    }
    return Wait(pid);
  }

  static int Wait(pid_t pid) {
    int status = 0;
    TEMP_FAILURE_RETRY(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  // Returns the error of accept4 without a descriptor: EBADF, or a scripted
  // one.
  static int ErrorOfAccept() {
    return accept4(-1, nullptr, nullptr, 0) < 0 ? errno : 0;
  }

  // Makes 500 signals, 50 us apart. Their number is limited: on a machine too
  // busy to answer a call within 50 us, the call would never return.
  static void InterruptOften() {
    static int left;
    left = 500;
    struct sigaction action = {};
    action.sa_handler = [](int) {
      const itimerval never = {};
      if (--left == 0) setitimer(ITIMER_REAL, &never, nullptr);
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const itimerval often = {{0, 50}, {0, 50}};
    setitimer(ITIMER_REAL, &often, nullptr);
  }
};

TEST_F(FaultInjectorTest, FailsJustTheScriptedCalls) {
  FaultInjector faults({SYS_accept4});
  faults.Fail(SYS_accept4, ENOMEM, /*first=*/2, /*count=*/2);
  faults.Fail(SYS_accept4, EMFILE, /*first=*/2);
  EXPECT_EQ(
      ExitCodeOf(
          faults,
          [] {
            for (int expected : {EBADF, ENOMEM, ENOMEM, EBADF, EMFILE, EBADF}) {
              if (ErrorOfAccept() != expected) return 1;
            }
            return 0;
          }),
      0);
  EXPECT_EQ(faults.calls(SYS_accept4), 6);
  EXPECT_EQ(faults.failed(SYS_accept4), 3);
}

TEST_F(FaultInjectorTest, IsSupportedWhereItWorks) {
  EXPECT_THAT(FaultInjector::Supported(), IsOk());
  EXPECT_EQ(prctl(PR_GET_SECCOMP), 0) << "Supported() installed a filter";
}

// The calls fail as on a kernel that is too old.
TEST_F(FaultInjectorTest, IsNotSupportedWhereItWouldNotWork) {
  const pid_t pid = fork();
  if (pid == 0) {
    RefuseCalls({SYS_seccomp}, EINVAL);
    const absl::Status supported = FaultInjector::Supported();
    _exit(absl::IsFailedPrecondition(supported) ? 0 : 1);
  }
  EXPECT_EQ(Wait(pid), 0);
}

TEST_F(FaultInjectorTest, ScriptsEachCallByItself) {
  FaultInjector faults({FaultInjector::kAccept, FaultInjector::kWait});
  faults.Fail(FaultInjector::kWait, ECHILD);
  EXPECT_EQ(ExitCodeOf(faults,
                       [] {
                         if (ErrorOfAccept() != EBADF) return 1;
                         const pid_t child = fork();
                         if (child == 0) _exit(7);
                         if (waitpid(child, nullptr, 0) >= 0) return 2;
                         return errno == ECHILD && Wait(child) == 7 ? 0 : 3;
                       }),
            0);
  EXPECT_EQ(faults.calls(FaultInjector::kAccept), 1);
  EXPECT_EQ(faults.failed(FaultInjector::kAccept), 0);
  EXPECT_EQ(faults.calls(FaultInjector::kWait), 2);
  EXPECT_EQ(faults.failed(FaultInjector::kWait), 1);
}

TEST_F(FaultInjectorTest, FailsEveryCallUntilRelieved) {
  int go_on[2];
  ASSERT_EQ(pipe2(go_on, O_CLOEXEC), 0);
  FaultInjector faults({SYS_accept4});
  faults.FailAlways(SYS_accept4, ENFILE);
  const pid_t pid = fork();
  if (pid == 0) {
    faults.Install();
    for (int i = 0; i < 100; ++i) {
      if (ErrorOfAccept() != ENFILE) _exit(1);
    }
    char byte;
    if (read(go_on[0], &byte, 1) != 1) _exit(2);
    _exit(ErrorOfAccept() == EBADF ? 0 : 3);
  }
  EXPECT_THAT(faults.AwaitCalls(SYS_accept4, 100), IsOk());
  faults.Relieve(SYS_accept4);
  EXPECT_EQ(write(go_on[1], "x", 1), 1);
  EXPECT_EQ(Wait(pid), 0);
  EXPECT_EQ(faults.failed(SYS_accept4), 100);
  EXPECT_EQ(faults.calls(SYS_accept4), 101);
  close(go_on[0]);
  close(go_on[1]);
}

TEST_F(FaultInjectorTest, LeavesChildrenOfTheServerProcessAlone) {
  FaultInjector faults({SYS_accept4});
  faults.FailAlways(SYS_accept4, ENOMEM);
  EXPECT_EQ(ExitCodeOf(faults,
                       [] {
                         const pid_t child = fork();
                         if (child == 0)
                           _exit(ErrorOfAccept() == EBADF ? 7 : 1);
                         return Wait(child);
                       }),
            7);
  EXPECT_EQ(faults.calls(SYS_accept4), 0);
}

TEST_F(FaultInjectorTest, FailsForkThroughCloneAndClone3) {
  FaultInjector faults({FaultInjector::kFork});
  faults.Fail(FaultInjector::kFork, EAGAIN, /*first=*/2);
  EXPECT_EQ(ExitCodeOf(faults,
                       [] {
                         const pid_t first = fork();
                         if (first == 0) _exit(7);
                         if (Wait(first) != 7) return 2;
                         return fork() < 0 && errno == EAGAIN ? 0 : 3;
                       }),
            0);
  EXPECT_EQ(faults.calls(FaultInjector::kFork), 2);
  EXPECT_EQ(faults.failed(FaultInjector::kFork), 1);
}

TEST_F(FaultInjectorTest, LeavesNothingBehindInTheServerProcess) {
  const Census before = Census::Take();
  FaultInjector faults({SYS_accept4});
  EXPECT_EQ(
      ExitCodeOf(
          faults,
          [&] { return Census::Difference(before, Census::Take()).size(); }),
      0);
}

// The kernel repeats an interrupted call, which is then received again.
TEST_F(FaultInjectorTest, CountsACallOnceThoughSignalsInterruptIt) {
  FaultInjector faults({SYS_accept4});
  faults.Fail(SYS_accept4, ENOMEM, /*first=*/500);
  EXPECT_EQ(ExitCodeOf(faults,
                       [] {
                         InterruptOften();
                         for (int i = 1; i <= 1000; ++i) {
                           const int expected = i == 500 ? ENOMEM : EBADF;
                           if (ErrorOfAccept() != expected) return 1;
                         }
                         return 0;
                       }),
            0);
  EXPECT_EQ(faults.calls(SYS_accept4), 1000);
  EXPECT_EQ(faults.failed(SYS_accept4), 1);
}

TEST_F(FaultInjectorTest, EndsThoughItWasNeverInstalled) {
  const FaultInjector faults({SYS_accept4});
  EXPECT_EQ(faults.calls(SYS_accept4), 0);
}

}  // namespace
}  // namespace brood::testing
