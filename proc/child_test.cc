// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/child.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::RefuseCalls;
using ::brood::testing::StatusIs;

static_assert(!std::is_copy_constructible_v<Child>);
static_assert(!std::is_copy_assignable_v<Child>);

// A pid that no process has: the largest one of the kernel is 4194304.
constexpr pid_t kUnusedPid = 5000001;
constexpr uid_t kNobody = 65534;

class ChildTest : public ::brood::testing::LeakCheck {
 protected:
  static Child ForkIdle() {
    const pid_t pid = fork();
    while (pid == 0) pause();
    return Child::Adopt(pid);
  }
  // Returns a child that ends at once and is not reaped.
  static Child ForkEnded() {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    return Child::Adopt(pid);
  }
  // Returns a child that leads a group of two processes. `end` becomes a
  // descriptor for ExpectEnd(). The second process is not a child of this one.
  static Child ForkGroup(int* end) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      setpgid(0, 0);
      if (fork() == 0 && write(ends[1], "x", 1) != 1) _exit(1);
      for (;;) pause();
    }
    close(ends[1]);
    char byte;
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
    *end = ends[0];
    return Child::Adopt(pid);
  }
  // Expects that both processes of a group end, and closes `end`.
  static void ExpectEnd(int end) {
    pollfd ended = {end, POLLIN, 0};
    EXPECT_EQ(poll(&ended, 1, 10000), 1) << "a process of the group is alive";
    EXPECT_EQ(ended.revents, POLLHUP);
    close(end);
  }
  static int WaitFor(Child child) {
    int status = -1;
    const pid_t pid = std::move(child).Release();
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
  }
};

using ChildDeathTest = ChildTest;

TEST_F(ChildTest, OwnsNothingByDefault) { EXPECT_EQ(Child().pid(), 0); }

TEST_F(ChildTest, ReleasesItsPid) {
  Child child = Child::Adopt(kUnusedPid);
  EXPECT_EQ(std::move(child).Release(), kUnusedPid);
  EXPECT_EQ(child.pid(), 0);  // NOLINT(bugprone-use-after-move)
}

TEST_F(ChildTest, IsEmptyWhenItWasMoved) {
  Child from = Child::Adopt(kUnusedPid);
  Child to = std::move(from);
  EXPECT_EQ(from.pid(), 0);  // NOLINT(bugprone-use-after-move)
  Child last;
  last = std::move(to);
  EXPECT_EQ(to.pid(), 0);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(std::move(last).Release(), kUnusedPid);
}

TEST_F(ChildTest, SurvivesSelfAssignment) {
  Child child = Child::Adopt(kUnusedPid);
  Child& same = child;
  child = std::move(same);
  EXPECT_EQ(std::move(child).Release(), kUnusedPid);
}

TEST_F(ChildDeathTest, DestroyingUnreapedChildAbortsAndNamesThePid) {
  EXPECT_EXIT(ForkEnded(), ::testing::KilledBySignal(SIGABRT),
              "child [1-9][0-9]* was dropped");
}

TEST_F(ChildDeathTest, AssigningOverUnreapedChildAbortsAndNamesThePid) {
  EXPECT_EXIT(
      {
        Child child = ForkEnded();
        child = Child();
      },
      ::testing::KilledBySignal(SIGABRT), "child [1-9][0-9]* was dropped");
}

TEST_F(ChildTest, DestructionHasNoEffectInForkedProcess) {
  Child child = ForkIdle();
  const pid_t fork_of_owner = fork();
  if (fork_of_owner == 0) {
    child = Child();
    _exit(0);
  }
  EXPECT_EQ(WaitFor(Child::Adopt(fork_of_owner)), 0);
  EXPECT_THAT(child.Signal(SIGKILL), IsOk());
  WaitFor(std::move(child));
}

TEST_F(ChildTest, SendsASignal) {
  Child child = ForkIdle();
  EXPECT_THAT(child.Signal(SIGTERM), IsOk());
  const int status = WaitFor(std::move(child));
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST_F(ChildTest, SendsSignalToItsGroup) {
  int end;
  Child child = ForkGroup(&end);
  EXPECT_THAT(child.Signal(SIGKILL), IsOk());
  ExpectEnd(end);
  kill(-child.pid(), SIGKILL);  // a failure leaves no process
  EXPECT_EQ(WTERMSIG(WaitFor(std::move(child))), SIGKILL);
}

// Another wait call of the program has taken the status: by now the pid may be
// that of another process, and so may the id of the group.
TEST_F(ChildTest, SendsNoSignalAfterAnotherWaitReapedIt) {
  int end;
  Child child = ForkGroup(&end);
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  ASSERT_EQ(waitpid(child.pid(), nullptr, 0), child.pid());
  EXPECT_THAT(child.Signal(SIGKILL), StatusIs(absl::ErrnoToStatusCode(ESRCH)));
  EXPECT_THAT(child.ProcessorTime(), StatusIs(absl::ErrnoToStatusCode(ESRCH)));
  pollfd ended = {end, POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 50), 0) << "another process was signalled";
  kill(-child.pid(), SIGKILL);
  ExpectEnd(end);
  std::move(child).Release();
}

// If SIGCHLD is ignored, the kernel reaps a child that has executed a program,
// and may give the pid to a later process.
TEST_F(ChildTest, SendsNoSignalToAProcessThatIsNotAChild) {
  int ask[2], answer[2];
  ASSERT_EQ(pipe(ask), 0);
  ASSERT_EQ(pipe(answer), 0);
  Child parent = Child::Adopt(fork());
  if (parent.pid() == 0) {
    const pid_t grandchild = fork();
    char byte;
    while (grandchild == 0 && read(ask[0], &byte, 1) == 1) {
      const pid_t self = getpid();
      if (write(answer[1], &self, sizeof(self)) < 0) _exit(1);
    }
    for (;;) pause();
  }
  pid_t stranger = 0;
  ASSERT_EQ(write(ask[1], "x", 1), 1);
  ASSERT_EQ(read(answer[0], &stranger, sizeof(stranger)),
            static_cast<ssize_t>(sizeof(stranger)));
  Child child = Child::Adopt(stranger);
  EXPECT_THAT(child.Signal(SIGKILL), StatusIs(absl::ErrnoToStatusCode(ESRCH)));
  EXPECT_THAT(child.ProcessorTime(), StatusIs(absl::ErrnoToStatusCode(ESRCH)));
  ASSERT_EQ(write(ask[1], "x", 1), 1);
  pollfd answers = {answer[0], POLLIN, 0};
  EXPECT_EQ(poll(&answers, 1, 10000), 1) << "another process was killed";
  std::move(child).Release();
  kill(stranger, SIGKILL);
  EXPECT_THAT(parent.Signal(SIGKILL), IsOk());
  WaitFor(std::move(parent));
  for (const int fd : {ask[0], ask[1], answer[0], answer[1]}) close(fd);
}

// On a kernel without pidfds, or under a filter of system calls.
TEST_F(ChildTest, SendsSignalsToChildrenAloneWithoutPidfds) {
  Child stranger = ForkIdle();  // a child of this process alone
  const pid_t other = fork();
  if (other == 0) {
    RefuseCalls({SYS_pidfd_open}, ENOSYS);
    Child own = ForkIdle();
    if (!own.Signal(SIGKILL).ok()) _exit(1);
    WaitFor(std::move(own));
    Child not_own = Child::Adopt(stranger.pid());
    const bool is_refused = absl::IsNotFound(not_own.Signal(SIGTERM));
    std::move(not_own).Release();
    _exit(is_refused ? 0 : 2);
  }
  EXPECT_EQ(WEXITSTATUS(WaitFor(Child::Adopt(other))), 0);
  EXPECT_THAT(stranger.Signal(SIGKILL), IsOk());
  EXPECT_EQ(WTERMSIG(WaitFor(std::move(stranger))), SIGKILL);
}

// The kernel reports success if it could signal any process of the group.
TEST_F(ChildTest,
       ReportsThatItMayNotSignalTheChildAlthoughItsGroupWasSignalled) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give up root";
  for (const bool has_pidfds : {true, false}) {
    const pid_t parent = fork();
    if (parent == 0) {
      int ready[2], stop[2];
      if (pipe(ready) < 0 || pipe(stop) < 0) _exit(1);
      const pid_t leader = fork();
      if (leader == 0) {
        setpgid(0, 0);
        close(stop[1]);
        if (fork() == 0) {
          if (setresuid(kNobody, kNobody, kNobody) < 0) _exit(1);
          if (write(ready[1], "x", 1) != 1) _exit(1);
          for (;;) pause();
        }
        char byte;
        _exit(static_cast<int>(read(stop[0], &byte, 1)));
      }
      char byte;
      if (read(ready[0], &byte, 1) != 1) _exit(2);
      if (setresuid(kNobody, kNobody, kNobody) < 0) _exit(3);
      if (!has_pidfds) RefuseCalls({SYS_pidfd_open}, ENOSYS);
      Child child = Child::Adopt(leader);
      const absl::Status sent = child.Signal(SIGTERM);
      std::move(child).Release();
      _exit(absl::IsPermissionDenied(sent) ? 0 : 4);
    }
    EXPECT_EQ(WEXITSTATUS(WaitFor(Child::Adopt(parent))), 0) << has_pidfds;
  }
}

TEST_F(ChildTest, SendsSignalToUnreapedDeadChild) {
  Child child = ForkIdle();
  ASSERT_THAT(child.Signal(SIGKILL), IsOk());
  siginfo_t ignored;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &ignored,
                   WEXITED | WNOWAIT),
            0);
  EXPECT_THAT(child.Signal(SIGTERM), IsOk());
  EXPECT_EQ(WTERMSIG(WaitFor(std::move(child))), SIGKILL);
}

TEST_F(ChildTest, SendsNoSignalAfterItIsReaped) {
  // kill(0, ...) signals this process and its group; signal 0 has no effect.
  EXPECT_THAT(Child().Signal(0),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ChildTest, NamesTheCallAndThePidIfASignalIsRefused) {
  Child child = Child::Adopt(kUnusedPid);
  EXPECT_THAT(child.Signal(SIGTERM),
              StatusIs(absl::ErrnoToStatusCode(ESRCH),
                       ::testing::HasSubstr(
                           absl::StrCat("kill ", kUnusedPid, " signal 15"))));
  std::move(child).Release();
}

TEST_F(ChildTest, ReportsTheProcessorTimeThatItHasUsed) {
  // Uses a processor between two reads of a pipe.
  int begin[2], done[2];
  ASSERT_EQ(pipe(begin), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    char byte = 0;
    while (read(begin[0], &byte, 1) == 1 && byte == 'c') {
      const clock_t end = clock() + CLOCKS_PER_SEC / 50;
      while (clock() < end) {
      }
      if (write(done[1], &byte, 1) != 1) _exit(1);
    }
    _exit(0);
  }
  Child child = Child::Adopt(pid);
  absl::Duration before = *child.ProcessorTime();
  for (int round = 0; round < 2; ++round) {
    char byte = 'c';
    ASSERT_EQ(write(begin[1], &byte, 1), 1);
    ASSERT_EQ(read(done[0], &byte, 1), 1);
    const absl::StatusOr<absl::Duration> after = child.ProcessorTime();
    ASSERT_THAT(after, IsOk());
    EXPECT_GE(*after - before, absl::Milliseconds(20));
    before = *after;
  }
  ASSERT_EQ(write(begin[1], "e", 1), 1);
  EXPECT_EQ(WaitFor(std::move(child)), 0);
  for (const int fd : {begin[0], begin[1], done[0], done[1]}) close(fd);
}

TEST_F(ChildTest, ReportsNoProcessorTimeOfOtherProcesses) {
  EXPECT_THAT(Child().ProcessorTime(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  Child child = Child::Adopt(kUnusedPid);
  EXPECT_FALSE(child.ProcessorTime().ok());
  std::move(child).Release();
}

}  // namespace
}  // namespace brood::proc
