// SPDX-License-Identifier: Apache-2.0

// A child that asks to be traced by its parent stops for it, and the kernel
// reports the stop to a wait of the parent. A stop is not an end.

#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <vector>

#include "brood/proc/reaper.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/reaper_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::ReaperHarness;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Ownership = Reaper::Ownership;

void AskToBeTraced() { ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }

class ReaperStopsTest : public ::brood::testing::LeakCheck,
                        public ::testing::WithParamInterface<Ownership> {
 protected:
  // Returns when the kernel has a stop of `pid` to report, or its end.
  static void AwaitStop(pid_t pid) {
    siginfo_t ignored;
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitid(P_PID, static_cast<id_t>(pid), &ignored,
                                        WEXITED | WSTOPPED | WNOWAIT | __WALL)),
              0);
  }
};

INSTANTIATE_TEST_SUITE_P(OfBothKinds, ReaperStopsTest,
                         ::testing::Values(Ownership::kOursAlone,
                                           Ownership::kEveryChild),
                         [](const auto& info) {
                           return info.param == Ownership::kOursAlone
                                      ? "OursAlone"
                                      : "EveryChild";
                         });

TEST_P(ReaperStopsTest, DoesNotReturnStoppedChild) {
  ReaperHarness harness(GetParam());
  const pid_t pid = harness.Spawn([] {
    AskToBeTraced();
    raise(SIGSTOP);
    return 7;
  });
  AwaitStop(pid);
  // The sweep finds the stop, and so does SIGCHLD in a standalone program.
  EXPECT_THAT(harness.CleanupBySweep(), IsEmpty());
  EXPECT_EQ(harness.reaper().live(), 1u);
  EXPECT_EQ(kill(pid, SIGCONT), 0);
  const std::vector<Reaper::Ended> ended = harness.AwaitEnded(1);
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].status.ToString(), "exited with code 7");
}

TEST_P(ReaperStopsTest, ReapsTracedChildrenLikeOthers) {
  ReaperHarness harness(GetParam());
  harness.Spawn(
      [] {
        AskToBeTraced();
        execl("/bin/sh", "sh", "-c", "exit 8", nullptr);
        return 127;
      },
      8);
  harness.Spawn(
      [] {
        AskToBeTraced();
        raise(SIGTRAP);
        return 9;
      },
      9);
  harness.Spawn(
      [] {
        std::signal(SIGUSR1, SIG_IGN);
        for (;;) {
          AskToBeTraced();
          raise(SIGUSR1);
        }
        return 0;
      },
      10);
  for (const Reaper::Ended& ended : harness.AwaitEnded(3)) {
    if (ended.tag < 10) {
      EXPECT_EQ(ended.status.code(), static_cast<int>(ended.tag));
    } else {
      EXPECT_EQ(ended.status.ToString(), "killed by SIGKILL (Killed)");
    }
  }
  EXPECT_EQ(harness.reaper().live(), 0u);
}

// A parent that no longer waits for a program still detaches it.
TEST_P(ReaperStopsTest, DetachesStoppedChildThatIsDisowned) {
  ReaperHarness harness(GetParam());
  int done[2];
  ASSERT_EQ(pipe(done), 0);
  auto reaper = Reaper::Create(GetParam(), 1);
  const pid_t pid = fork();
  if (pid == 0) {
    AskToBeTraced();
    raise(SIGTRAP);
    _exit(write(done[1], "x", 1) == 1 ? 11 : 12);
  }
  (*reaper)->Adopt(Child::Adopt(pid), 0);
  AwaitStop(pid);
  EXPECT_FALSE((*reaper)->Disown(pid)) << "the child has not ended";
  char byte;
  EXPECT_EQ(read(done[0], &byte, 1), 1) << "the child continues";
  int status;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 11);
  for (const int fd : done) close(fd);
}

bool HasChild() {
  siginfo_t ignored;
  return waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

// Orphans that ask their new parent to trace them are reaped, and do not keep
// it busy.
using ReaperOrphansTest = ::brood::testing::LeakCheck;

TEST_F(ReaperOrphansTest, ThatStopAreDetachedOrKilled) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  {
    ReaperHarness harness(Ownership::kEveryChild);
    int orphaned[2];
    ASSERT_EQ(pipe(orphaned), 0);
    harness.Spawn([&] {
      for (int i = 0; i < 40; ++i) {
        if (fork() == 0) {
          close(orphaned[1]);
          char byte;
          (void)!read(orphaned[0], &byte, 1);
          std::signal(SIGUSR1, SIG_IGN);
          do {
            AskToBeTraced();
            raise(SIGUSR1);
          } while (i % 2 == 0);
          _exit(0);
        }
      }
      return 0;
    });
    harness.AwaitEnded(1);
    for (const int fd : orphaned) close(fd);
    const auto deadline =
        Reaper::Instant::clock::now() + std::chrono::seconds(10);
    while (HasChild()) {
      ASSERT_LT(Reaper::Instant::clock::now(), deadline);
      EXPECT_THAT(harness.Cleanup(Reaper::Instant::clock::now()), IsEmpty());
    }
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

// Each is reaped before the next one stops, so there is always room to count.
TEST_F(ReaperOrphansTest, AreForgottenWhenTheyHaveEnded) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  {
    ReaperHarness harness(Ownership::kEveryChild);
    for (int i = 0; i < 40; ++i) {
      int done[2];
      ASSERT_EQ(pipe(done), 0);
      harness.Spawn([&] {
        const pid_t parent = getpid();
        if (fork() != 0) return 0;
        while (getppid() == parent) sched_yield();
        std::signal(SIGUSR1, SIG_IGN);
        AskToBeTraced();
        raise(SIGUSR1);
        _exit(write(done[1], "x", 1) == 1 ? 0 : 1);
      });
      harness.AwaitEnded(1);
      close(done[1]);
      const auto deadline =
          Reaper::Instant::clock::now() + std::chrono::seconds(10);
      while (HasChild()) {
        ASSERT_LT(Reaper::Instant::clock::now(), deadline);
        harness.Cleanup(Reaper::Instant::clock::now());
      }
      char byte;
      EXPECT_EQ(read(done[0], &byte, 1), 1)
          << i << ": killed at its first stop";
      close(done[0]);
    }
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace
}  // namespace brood::proc
