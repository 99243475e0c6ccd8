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

// Three generations: the test, a parent that ends, and its child. The test
// adopts the child then, and learns how that ended.
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
    void Tell() const {
      const char byte = '!';
      if (write(ends[1], &byte, 1) != 1) _exit(98);
    }
    // False if nobody is left to tell.
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
  // The wait status of a child of the test's: any one, or `pid`.
  static int WaitFor(pid_t pid = -1) {
    int status = -1;
    EXPECT_GT(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), 0);
    return status;
  }
  static bool WasKilled(int status) {
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

  // Bazel's sandbox may have a root who is nobody else.
  static bool CanChangeUser() {
    return WaitFor(Fork([] {
             return setresuid(kNobody, kNobody, kNobody) == 0 ? 0 : 1;
           })) == 0;
  }
  // What the child does: it says that it lives, and ends by itself when nobody
  // holds the other end of `until` any more.
  static int LiveOn(const Pipe& told, Pipe& until) {
    told.Tell();
    until.Await();
    return 7;
  }
};

TEST_F(ParentDeathTest, TakesTheChildAlong) {
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
  until.Close(1);  // one that still lives ends now
  EXPECT_TRUE(WasKilled(WaitFor()));
}

TEST_F(ParentDeathTest, TakesAChildAlongThatBlocksEverySignalAndIsStopped) {
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

// The first trap: no signal comes of a death that was before the call.
TEST_F(ParentDeathTest, IsNoticedIfItWasBeforeTheCall) {
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
  orphaned.Tell();
  const int status = WaitFor();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

// The second trap, shown so that nobody falls into it: to the kernel the thread
// that forked is the parent.
TEST_F(ParentDeathTest, IsTheDeathOfTheThreadThatForked) {
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

// The third trap, and the way round it.
TEST_F(ParentDeathTest, IsForgottenByWhoChangesItsUserAfterwards) {
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
    until.Close(1);  // whoever still lives ends now
    const int status = WaitFor();
    EXPECT_EQ(WasKilled(status), changes_before) << status;
    EXPECT_EQ(WIFEXITED(status), !changes_before) << status;
  }
}

// A fourth: the kernel asks whether the parent may.
TEST_F(ParentDeathTest, CannotTakeAChildAlongThatMayDoMore) {
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
  EXPECT_EQ(WEXITSTATUS(status), 7) << "it did not live on";
}

TEST_F(ParentDeathTest, IsAnErrorWhereItCannotBeAskedFor) {
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
