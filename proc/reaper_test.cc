// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/reaper_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ReaperHarness;
using ::brood::testing::StatusIs;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Ownership = Reaper::Ownership;
using Instant = Reaper::Instant;

class ReaperTest : public ::brood::testing::LeakCheck {
 protected:
  // Whether this process has a child, dead or alive.
  static bool HasChild() {
    siginfo_t ignored;
    return waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT | __WALL) ==
           0;
  }
};

// Tests for either Ownership.
class ReaperOfBothKindsTest : public ReaperTest,
                              public ::testing::WithParamInterface<Ownership> {
};

INSTANTIATE_TEST_SUITE_P(OfBothKinds, ReaperOfBothKindsTest,
                         ::testing::Values(Ownership::kOursAlone,
                                           Ownership::kEveryChild),
                         [](const auto& info) {
                           return info.param == Ownership::kOursAlone
                                      ? "OursAlone"
                                      : "EveryChild";
                         });

TEST_P(ReaperOfBothKindsTest, ReturnsEachEndExactlyOnce) {
  ReaperHarness harness(GetParam());
  std::map<uint32_t, int> codes;
  for (uint32_t tag = 0; tag < 60; ++tag) {
    harness.Spawn([tag] { return static_cast<int>(tag); }, tag);
  }
  EXPECT_EQ(harness.reaper().live(), 60u);
  for (const Reaper::Ended& ended : harness.AwaitEnded(60)) {
    EXPECT_TRUE(ended.status.exited());
    codes[ended.tag] = ended.status.code();
  }
  EXPECT_THAT(codes, SizeIs(60));
  for (const auto& [tag, code] : codes) EXPECT_EQ(code, static_cast<int>(tag));
  EXPECT_EQ(harness.reaper().live(), 0u);
  EXPECT_THAT(harness.Cleanup(Instant::clock::now() + std::chrono::hours(1)),
              IsEmpty());
  EXPECT_FALSE(HasChild());
}

TEST_P(ReaperOfBothKindsTest, ReturnsPidTagAndStatus) {
  ReaperHarness harness(GetParam());
  const pid_t killed = harness.SpawnIdle(/*tag=*/7);
  ASSERT_THAT(harness.reaper().Signal(killed, SIGKILL), IsOk());
  const std::vector<Reaper::Ended> ended = harness.AwaitEnded(1);
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].pid, killed);
  EXPECT_EQ(ended[0].tag, 7u);
  EXPECT_EQ(ended[0].status.ToString(), "killed by SIGKILL (Killed)");
  EXPECT_GT(ended[0].status.usage().ru_maxrss, 0);
}

// A blocking wait would never return here.
TEST_P(ReaperOfBothKindsTest, NeverBlocksOnLiveChild) {
  ReaperHarness harness(GetParam());
  const pid_t pid = harness.SpawnIdle();
  EXPECT_FALSE(harness.HasNotice());
  EXPECT_THAT(harness.CleanupByQueue(), IsEmpty());
  EXPECT_THAT(harness.CleanupBySweep(), IsEmpty());
  EXPECT_EQ(harness.reaper().live(), 1u);
  ASSERT_THAT(harness.reaper().Signal(pid, SIGKILL), IsOk());
  harness.AwaitEnded(1);
}

TEST_P(ReaperOfBothKindsTest, GetsNoticeOfEachEnd) {
  ReaperHarness harness(GetParam());
  for (uint32_t tag = 0; tag < 3; ++tag) {
    harness.SpawnZombie([] { return 0; }, tag);
  }
  EXPECT_TRUE(harness.HasNotice());
  EXPECT_THAT(harness.CleanupByQueue(), SizeIs(3));
  EXPECT_FALSE(harness.HasNotice());
  EXPECT_EQ(harness.reaper().found_by_sweep(), 0u);
}

TEST_P(ReaperOfBothKindsTest, ReturnsAtMostOneBatchAtATime) {
  ReaperHarness harness(GetParam());
  constexpr size_t kDeaths = 1000;
  std::vector<pid_t> pids;
  for (size_t i = 0; i < kDeaths; ++i) {
    pids.push_back(harness.Spawn([] { return 0; }));
  }
  for (pid_t pid : pids) ReaperHarness::AwaitZombie(pid);
  size_t delivered = 0;
  for (int call = 0; delivered < kDeaths && call < 8; ++call) {
    const size_t batch = harness.CleanupBySweep().size();
    EXPECT_GT(batch, 0u);
    EXPECT_LE(batch, static_cast<size_t>(Reaper::kBatch));
    delivered += batch;
  }
  EXPECT_EQ(delivered, kDeaths);
}

TEST_P(ReaperOfBothKindsTest, ReturnsEachEndAfterQueueOverflow) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_SIGPENDING, &before), 0);
  const rlimit one = {1, before.rlim_max};
  ReaperHarness harness(GetParam());
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &one), 0);
  for (int i = 0; i < 20; ++i) harness.SpawnZombie([] { return 0; });
  size_t delivered = harness.CleanupByQueue().size();
  EXPECT_LT(delivered, 20u);
  delivered += harness.CleanupBySweep().size();
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &before), 0);
  EXPECT_EQ(delivered, 20u);
  EXPECT_GT(harness.reaper().found_by_sweep(), 0u);
}

// An exec resets the exit signal to SIGCHLD, so that the reaper gets no notice.
TEST_P(ReaperOfBothKindsTest, FindsChildThatExecutedAProgram) {
  ReaperHarness harness(GetParam());
  harness.SpawnZombie([] {
    execl("/bin/sh", "sh", "-c", "exit 7", nullptr);
    return 127;
  });
  const std::vector<Reaper::Ended> ended = harness.CleanupBySweep();
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].status.code(), 7);
}

TEST_P(ReaperOfBothKindsTest, ReturnsChildReapedByAnotherWait) {
  ReaperHarness harness(GetParam());
  sigset_t notices;
  sigemptyset(&notices);
  sigaddset(&notices, harness.reaper().exit_signal());
  for (const bool notice_too : {false, true}) {
    const pid_t pid = harness.SpawnZombie([] { return 0; }, /*tag=*/3);
    ASSERT_EQ(waitpid(pid, nullptr, __WALL), pid);
    if (notice_too) {
      ASSERT_GT(sigwaitinfo(&notices, nullptr), 0);
    }
    const std::vector<Reaper::Ended> ended =
        notice_too ? harness.CleanupBySweep() : harness.CleanupByQueue();
    ASSERT_THAT(ended, SizeIs(1));
    EXPECT_TRUE(ended[0].status.unknown());
    EXPECT_EQ(ended[0].tag, 3u);
  }
}

TEST_P(ReaperOfBothKindsTest, IgnoresForgedNotices) {
  ReaperHarness harness(GetParam());
  const pid_t alive = harness.SpawnIdle(), dead = harness.SpawnIdle();
  for (pid_t named : {alive, getpid(), pid_t{1}, pid_t{0}, pid_t{-1}}) {
    siginfo_t forged = {};
    forged.si_signo = harness.reaper().exit_signal();
    forged.si_code = SI_QUEUE;
    forged.si_pid = named;
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(
          syscall(SYS_rt_sigqueueinfo, getpid(), forged.si_signo, &forged), 0);
    }
  }
  harness.reaper().Signal(dead, SIGKILL).IgnoreError();
  std::vector<Reaper::Ended> ended = harness.AwaitEnded(1);
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].pid, dead);
  EXPECT_EQ(harness.reaper().live(), 1u);
  harness.reaper().Signal(alive, SIGKILL).IgnoreError();
  EXPECT_THAT(harness.AwaitEnded(1), SizeIs(1));
}

TEST_P(ReaperOfBothKindsTest, SignalsItsChildrenUntilTheyAreReaped) {
  ReaperHarness harness(GetParam());
  const pid_t pid = harness.SpawnIdle();
  EXPECT_THAT(harness.reaper().Signal(pid, SIGKILL), IsOk());
  ReaperHarness::AwaitZombie(pid);
  EXPECT_THAT(harness.reaper().Signal(pid, SIGKILL), IsOk());
  harness.AwaitEnded(1);
  EXPECT_THAT(harness.reaper().Signal(pid, SIGKILL),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(ReaperOfBothKindsTest, ReportsProcessorTimeOfItsChildrenAlone) {
  ReaperHarness harness(GetParam());
  const pid_t pid = harness.SpawnIdle();
  EXPECT_THAT(harness.reaper().ProcessorTime(pid), IsOk());
  for (const pid_t other : {0, static_cast<int>(getpid())}) {
    EXPECT_THAT(harness.reaper().ProcessorTime(other),
                StatusIs(absl::StatusCode::kNotFound));
  }
}

TEST_P(ReaperOfBothKindsTest, IsNeverDueWithoutChildren) {
  ReaperHarness harness(GetParam());
  EXPECT_EQ(harness.reaper().next_check(), Instant::max());
  harness.SpawnZombie([] { return 0; });
  EXPECT_LT(harness.reaper().next_check(), Instant::max());
  harness.AwaitEnded(1);
  EXPECT_EQ(harness.reaper().next_check(), Instant::max());
}

// The reaper is embedded in a program that may do anything with SIGCHLD.
TEST_F(ReaperTest, WorksWhateverTheDispositionOfSigchld) {
  struct sigaction before;
  sigaction(SIGCHLD, nullptr, &before);
  sigset_t sigchld;
  sigemptyset(&sigchld);
  sigaddset(&sigchld, SIGCHLD);
  const std::map<std::string, std::function<void()>> deeds = {
      {"ignored", [] { std::signal(SIGCHLD, SIG_IGN); }},
      {"handled by a handler that waits for any child",
       [] {
         std::signal(SIGCHLD, [](int) {
           while (waitpid(-1, nullptr, WNOHANG) > 0) {
           }
         });
       }},
      {"without zombies",
       [] {
         struct sigaction no_wait = {};
         no_wait.sa_flags = SA_NOCLDWAIT;
         sigaction(SIGCHLD, &no_wait, nullptr);
       }},
      {"blocked", [&] { sigprocmask(SIG_BLOCK, &sigchld, nullptr); }},
  };
  for (const auto& [name, deed] : deeds) {
    deed();
    {
      ReaperHarness harness(Ownership::kOursAlone);
      for (int i = 0; i < 5; ++i) harness.SpawnZombie([] { return 7; });
      const std::vector<Reaper::Ended> ended = harness.CleanupByQueue();
      EXPECT_THAT(ended, SizeIs(5)) << name;
      for (const Reaper::Ended& each : ended) {
        EXPECT_EQ(each.status.ToString(), "exited with code 7") << name;
      }
    }
    sigprocmask(SIG_UNBLOCK, &sigchld, nullptr);
    sigaction(SIGCHLD, &before, nullptr);
  }
}

TEST_F(ReaperTest, DoesNotReapChildrenOfTheEmbedder) {
  ReaperHarness harness(Ownership::kOursAlone);
  std::set<pid_t> theirs;
  for (int i = 0; i < 20; ++i) {
    const pid_t pid = fork();
    if (pid == 0) _exit(i);
    theirs.insert(pid);
    ReaperHarness::AwaitZombie(pid);
    harness.SpawnZombie([] { return 0; });
  }
  EXPECT_THAT(harness.CleanupBySweep(), SizeIs(20));
  // A wait of the embedder does not find the children of the reaper either.
  harness.SpawnZombie([] { return 0; });
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(theirs.erase(waitpid(-1, nullptr, WNOHANG)), 1u);
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
  EXPECT_THAT(harness.CleanupByQueue(), SizeIs(1));
}

// A grandchild that outlives its parent, and ends when `gate` is closed.
void LeaveOrphan(ReaperHarness& harness, int gate[2]) {
  harness.Spawn([&] {
    if (fork() == 0) {
      char ignored;
      close(gate[1]);
      (void)!read(gate[0], &ignored, 1);
      _exit(0);
    }
    return 0;
  });
  harness.AwaitEnded(1);
}

TEST_F(ReaperTest, ReapsOrphansIfItOwnsEveryChild) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  {
    ReaperHarness harness(Ownership::kEveryChild);
    int gate[2];
    ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
    LeaveOrphan(harness, gate);
    EXPECT_TRUE(HasChild());
    close(gate[1]);
    close(gate[0]);
    pollfd notices = {harness.reaper().fd(), POLLIN, 0};
    while (HasChild() && poll(&notices, 1, 10000) == 1) {
      EXPECT_THAT(harness.Cleanup(std::chrono::steady_clock::now()), IsEmpty());
    }
    EXPECT_FALSE(HasChild());
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_F(ReaperTest, DoesNotReapOrphansOtherwise) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  {
    ReaperHarness harness(Ownership::kOursAlone);
    int gate[2];
    ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
    LeaveOrphan(harness, gate);
    close(gate[1]);
    close(gate[0]);
    siginfo_t orphan;
    ASSERT_EQ(waitid(P_ALL, 0, &orphan, WEXITED | WNOWAIT | __WALL), 0);
    EXPECT_THAT(harness.Cleanup(Instant::clock::now() + std::chrono::hours(1)),
                IsEmpty());
    EXPECT_EQ(waitpid(orphan.si_pid, nullptr, 0), orphan.si_pid);
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_F(ReaperTest, DoesNotDisturbAnotherReaperInTheProcess) {
  ReaperHarness one(Ownership::kOursAlone), other(Ownership::kOursAlone);
  EXPECT_NE(one.reaper().exit_signal(), other.reaper().exit_signal());
  one.SpawnZombie([] { return 1; });
  other.SpawnZombie([] { return 2; });
  EXPECT_THAT(one.CleanupBySweep(), SizeIs(1));
  EXPECT_EQ(other.reaper().live(), 1u);
  EXPECT_THAT(other.CleanupByQueue(), SizeIs(1));
}

using ReaperDeathTest = ReaperTest;

TEST_F(ReaperDeathTest, DestructionWithLiveChildAborts) {
  EXPECT_EXIT(
      {
        auto reaper = *Reaper::Create(Ownership::kOursAlone, 1);
        const pid_t pid = fork();
        if (pid == 0) _exit(0);
        reaper->Adopt(Child::Adopt(pid), 0);
        reaper.reset();
      },
      ::testing::KilledBySignal(SIGABRT), "child [1-9][0-9]* was dropped");
}

}  // namespace
}  // namespace brood::proc
