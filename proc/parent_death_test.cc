// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/parent_death.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr uid_t kNobody = 65534;

// Three generations of processes: the test, a parent that ends, and its child.
// The test then adopts the child, and gets its status.
class ParentDeathTest : public ::brood::testing::LeakCheck {
 protected:
  ParentDeathTest() { prctl(PR_SET_CHILD_SUBREAPER, 1); }
  ~ParentDeathTest() override { prctl(PR_SET_CHILD_SUBREAPER, 0); }

  // A pipe, by which one generation waits for another.
  struct Pipe {
    Pipe() { EXPECT_EQ(pipe(ends), 0); }
    ~Pipe() {
      Close(0);
      Close(1);
    }
    void Close(int end) {
      if (ends[end] >= 0) close(ends[end]);
      ends[end] = -1;
    }
    void Notify() const {
      const char byte = '!';
      if (write(ends[1], &byte, 1) != 1) _exit(98);
    }
    // Returns false if every process has closed the writing end.
    bool Await() {
      Close(1);
      char byte;
      return read(ends[0], &byte, 1) == 1;
    }
    int ends[2];
  };

  static pid_t Fork(const std::function<int()>& body) {
    const pid_t pid = fork();
    if (pid == 0) _exit(body());
    return pid;
  }
  // Returns the wait status of a child of the test: that of `pid`, or of any
  // child.
  static int WaitFor(pid_t pid = -1) {
    int status = -1;
    EXPECT_GT(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), 0);
    return status;
  }
  static bool WasKilled(int status) {
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

  // Reports whether this process can become another user: in the sandbox of
  // Bazel, root may be the only one.
  static bool CanChangeUser() {
    return WaitFor(Fork([] {
             return setresuid(kNobody, kNobody, kNobody) == 0 ? 0 : 1;
           })) == 0;
  }
  // Runs in the child: reports by `told` that the child lives, and returns when
  // every process has closed the other end of `until`.
  static int LiveOn(const Pipe& told, Pipe& until) {
    told.Notify();
    until.Await();
    return 7;
  }
};

TEST_F(ParentDeathTest, KillsTheChild) {
  Pipe alive, until;
  const pid_t parent = Fork([&] {
    const pid_t self = getpid();
    Fork([&] {
      if (!DieWithParent(self).ok()) return 1;
      return LiveOn(alive, until);
    });
    alive.Await();
    return 0;
  });
  alive.Close(1);
  EXPECT_EQ(WaitFor(parent), 0);
  until.Close(1);  // a child that still lives ends now
  EXPECT_TRUE(WasKilled(WaitFor()));
}

TEST_F(ParentDeathTest, KillsStoppedChildThatBlocksEverySignal) {
  Pipe alive, until;
  const pid_t parent = Fork([&] {
    const pid_t self = getpid();
    const pid_t child = Fork([&] {
      sigset_t all;
      sigfillset(&all);
      sigprocmask(SIG_BLOCK, &all, nullptr);
      if (!DieWithParent(self).ok()) return 1;
      return LiveOn(alive, until);
    });
    alive.Await();
    kill(child, SIGSTOP);
    int status;
    waitpid(child, &status, WUNTRACED);
    return 0;
  });
  alive.Close(1);
  EXPECT_EQ(WaitFor(parent), 0);
  EXPECT_TRUE(WasKilled(WaitFor()));
}

// The first case: the kernel sends no signal for a parent that ended before the
// call.
TEST_F(ParentDeathTest, IsReportedIfItWasBeforeTheCall) {
  Pipe orphaned;
  const pid_t parent = Fork([&] {
    const pid_t self = getpid();
    Fork([&] {
      orphaned.Await();
      const absl::Status status = DieWithParent(self);
      return absl::IsUnavailable(status) ? 3 : 4;
    });
    return 0;
  });
  EXPECT_EQ(WaitFor(parent), 0);
  orphaned.Notify();
  const int status = WaitFor();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

// The second case, tested to show it: for the kernel the thread that forked is
// the parent.
TEST_F(ParentDeathTest, TriggersWhenForkingThreadExits) {
  Pipe alive, until;
  pid_t child = 0;
  std::thread forks([&] {
    const pid_t self = getpid();
    child = Fork([&] {
      if (!DieWithParent(self).ok()) return 1;
      return LiveOn(alive, until);
    });
    alive.Await();
  });
  forks.join();
  EXPECT_TRUE(WasKilled(WaitFor(child)));
}

// The third case: the call must come after the change of the user.
TEST_F(ParentDeathTest, IsForgottenIfTheChildChangesItsUserAfterwards) {
  if (!CanChangeUser()) GTEST_SKIP() << "may not change the user here";
  for (const bool changes_before : {false, true}) {
    Pipe alive, until;
    const pid_t parent = Fork([&] {
      const pid_t self = getpid();
      Fork([&] {
        if (changes_before && setresuid(kNobody, kNobody, kNobody) < 0) {
          return 1;
        }
        if (!DieWithParent(self).ok()) return 2;
        if (!changes_before && setresuid(kNobody, kNobody, kNobody) < 0) {
          return 1;
        }
        return LiveOn(alive, until);
      });
      alive.Await();
      return 0;
    });
    alive.Close(1);
    EXPECT_EQ(WaitFor(parent), 0);
    until.Close(1);  // a child that still lives ends now
    const int status = WaitFor();
    EXPECT_EQ(WasKilled(status), changes_before) << status;
    EXPECT_EQ(WIFEXITED(status), !changes_before) << status;
  }
}

// The fourth case: the kernel checks whether the parent may signal the child.
TEST_F(ParentDeathTest, DoesNotKillChildWithMorePrivileges) {
  if (!CanChangeUser()) GTEST_SKIP() << "may not change the user here";
  Pipe alive, until;
  const pid_t parent = Fork([&] {
    const pid_t self = getpid();
    Fork([&] {
      if (!DieWithParent(self).ok()) return 1;
      return LiveOn(alive, until);
    });
    alive.Await();
    return setresuid(kNobody, kNobody, kNobody);
  });
  alive.Close(1);
  EXPECT_EQ(WaitFor(parent), 0);
  until.Close(1);
  const int status = WaitFor();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7) << "the child was killed";
}

TEST_F(ParentDeathTest, ReturnsErrorIfPrctlIsRefused) {
  const pid_t self = getpid();
  const pid_t child = Fork([&] {
    ::brood::testing::RefuseCalls({SYS_prctl}, EPERM);
    return absl::IsPermissionDenied(DieWithParent(self)) ? 3 : 4;
  });
  const int status = WaitFor(child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

}  // namespace
}  // namespace brood::proc
