// SPDX-License-Identifier: Apache-2.0

// Ends without a notice: the kernel kept no status, the notice was lost, or a
// handler created the child.

#include <linux/sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "brood/proc/child.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/reaper_harness.h"
#include "brood/testing/support/refuse_calls.h"
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
using std::chrono::milliseconds;

class ReaperLostEndsTest : public ::brood::testing::LeakCheck,
                           public ::testing::WithParamInterface<Ownership> {
 protected:
  static bool HasChild() {
    siginfo_t ignored;
    return waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT | __WALL) ==
           0;
  }
  static int Execute() {
    execl("/bin/sh", "sh", "-c", "exit 7", nullptr);
    return 127;
  }
  // Returns when the kernel has reaped `pid` by itself.
  static void AwaitGone(pid_t pid) {
    while (kill(pid, 0) == 0) sched_yield();
    EXPECT_EQ(errno, ESRCH);
  }
  // Creates `count` children of this process, from a child of it as a handler
  // can. Returns when they have ended.
  static void LeaveSiblings(ReaperHarness& harness, int count) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    harness.Spawn([&] {
      for (int i = 0; i < count; ++i) {
        const auto pid = static_cast<pid_t>(syscall(
            SYS_clone, CLONE_PARENT, nullptr, nullptr, nullptr, nullptr));
        if (pid == 0) _exit(0);
        if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid)) return 1;
      }
      return 0;
    });
    close(ends[1]);
    for (pid_t pid; read(ends[0], &pid, sizeof(pid)) == sizeof(pid);) {
      ReaperHarness::AwaitZombie(pid);
    }
    close(ends[0]);
  }
};

INSTANTIATE_TEST_SUITE_P(OfBothKinds, ReaperLostEndsTest,
                         ::testing::Values(Ownership::kOursAlone,
                                           Ownership::kEveryChild),
                         [](const auto& info) {
                           return info.param == Ownership::kOursAlone
                                      ? "OursAlone"
                                      : "EveryChild";
                         });

// With SIGCHLD ignored, the kernel reaps a child that has executed a program.
TEST_P(ReaperLostEndsTest, FindsChildThatTheKernelReaped) {
  const auto before = std::signal(SIGCHLD, SIG_IGN);
  {
    ReaperHarness harness(GetParam());
    const pid_t alive = harness.SpawnIdle();
    const pid_t gone = harness.Spawn(Execute, /*tag=*/4);
    AwaitGone(gone);
    EXPECT_THAT(harness.reaper().Signal(gone, SIGKILL),
                StatusIs(absl::StatusCode::kNotFound));
    const std::vector<Reaper::Ended> ended = harness.CleanupBySweep();
    ASSERT_THAT(ended, SizeIs(1));
    EXPECT_EQ(ended[0].tag, 4u);
    EXPECT_TRUE(ended[0].status.unknown());
    EXPECT_EQ(harness.reaper().live(), 1u);
    EXPECT_THAT(harness.reaper().Signal(alive, SIGKILL), IsOk());
    harness.AwaitEnded(1);
  }
  std::signal(SIGCHLD, before);
}

// For any size of the table: one sweep waits for each of 4096 children.
TEST_P(ReaperLostEndsTest, FindsAnExecutedProgramInOneSweepAtEachCap) {
  for (const size_t cap : {10, 10000, 100000}) {
    absl::StatusOr<std::unique_ptr<Reaper>> reaper =
        Reaper::Create(GetParam(), cap);
    ASSERT_THAT(reaper, IsOk());
    auto spawner = CloneSpawner::Create((*reaper)->exit_signal());
    ASSERT_THAT(spawner->Prepare(), IsOk());
    const Instant start = Instant::clock::now();
    (*reaper)->CleanupChildren(start);
    // Several, because a check for held children finds one in any case.
    for (uint32_t tag = 0; tag < 4; ++tag) {
      absl::StatusOr<SpawnedChild> child = spawner->Spawn(Execute);
      ASSERT_THAT(child, IsOk());
      const pid_t pid = child->pid();
      (*reaper)->Adopt(*std::move(child), tag);
      ReaperHarness::AwaitZombie(pid);
    }
    const absl::Span<const Reaper::Ended> ended =
        (*reaper)->CleanupChildren(start + milliseconds(50));
    EXPECT_THAT(ended, SizeIs(4)) << "cap " << cap;
    for (const Reaper::Ended& each : ended) EXPECT_EQ(each.status.code(), 7);
    (*reaper)->CleanupChildren(start + milliseconds(100));
  }
}

// Other code has reaped the child, and the next child has the same pid.
TEST_P(ReaperLostEndsTest, AdoptsChildWithReusedPid) {
  absl::StatusOr<std::unique_ptr<Reaper>> reaper =
      Reaper::Create(GetParam(), 4);
  ASSERT_THAT(reaper, IsOk());
  auto spawner = CloneSpawner::Create((*reaper)->exit_signal());
  ASSERT_THAT(spawner->Prepare(), IsOk());
  absl::StatusOr<SpawnedChild> child = spawner->Spawn([] { return 0; });
  ASSERT_THAT(child, IsOk());
  const pid_t pid = child->pid();
  (*reaper)->Adopt(*std::move(child), /*tag=*/1);
  ASSERT_EQ(waitpid(pid, nullptr, __WALL), pid);
  (*reaper)->Adopt(Child::Adopt(pid), /*tag=*/2);
  EXPECT_EQ((*reaper)->live(), 2u);
  const absl::Span<const Reaper::Ended> ended =
      (*reaper)->CleanupChildren(Instant::clock::now());
  ASSERT_THAT(ended, SizeIs(2));
  for (uint32_t tag : {1, 2}) {
    EXPECT_EQ(ended[tag - 1].tag, tag);
    EXPECT_TRUE(ended[tag - 1].status.unknown());
  }
  EXPECT_EQ((*reaper)->live(), 0u);
}

TEST_P(ReaperLostEndsTest,
       ReturnsTheChildBeforeWhileTheNextOneWithItsPidLives) {
  absl::StatusOr<std::unique_ptr<Reaper>> reaper =
      Reaper::Create(GetParam(), 4);
  ASSERT_THAT(reaper, IsOk());
  const pid_t pid = fork();
  while (pid == 0) pause();
  (*reaper)->Adopt(Child::Adopt(pid), /*tag=*/1);
  (*reaper)->Adopt(Child::Adopt(pid), /*tag=*/2);
  absl::Span<const Reaper::Ended> ended =
      (*reaper)->CleanupChildren(Instant::clock::now());
  EXPECT_THAT(ended, SizeIs(1));
  for (const Reaper::Ended& each : ended) {
    EXPECT_EQ(each.tag, 1u);
    EXPECT_TRUE(each.status.unknown());
  }
  EXPECT_EQ((*reaper)->live(), 1u);
  EXPECT_THAT((*reaper)->Signal(pid, SIGKILL), IsOk());
  ReaperHarness::AwaitZombie(pid);
  ended = (*reaper)->CleanupChildren((*reaper)->next_check());
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].tag, 2u);
  EXPECT_EQ(ended[0].status.signal(), SIGKILL);
}

// F12: the memory for ends was allocated when the reaper was created.
TEST_P(ReaperLostEndsTest, ReturnsEndsAlthoughNoMemoryCanBeMapped) {
  constexpr uint32_t kChildren = 20;
  absl::StatusOr<std::unique_ptr<Reaper>> reaper =
      Reaper::Create(GetParam(), kChildren);
  ASSERT_THAT(reaper, IsOk());
  for (uint32_t tag = 0; tag < kChildren; ++tag) {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    (*reaper)->Adopt(Child::Adopt(pid), tag);
    ReaperHarness::AwaitZombie(pid);
  }
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &none), 0);
  const size_t ends = (*reaper)->CleanupChildren(Instant::clock::now()).size();
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_EQ(ends, kChildren);
}

// A compromised fork server may report any number.
TEST_P(ReaperLostEndsTest, ReturnsInvalidPidAsUnknown) {
  absl::StatusOr<std::unique_ptr<Reaper>> reaper =
      Reaper::Create(GetParam(), 4);
  ASSERT_THAT(reaper, IsOk());
  // A group of processes, which a wait for a negative number would reap.
  const pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    _exit(0);
  }
  ReaperHarness::AwaitZombie(pid);
  (*reaper)->Adopt(Child::Adopt(-pid), /*tag=*/3);
  EXPECT_FALSE((*reaper)->Signal(-pid, SIGKILL).ok());
  const absl::Span<const Reaper::Ended> ended =
      (*reaper)->CleanupChildren(Instant::min());
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].tag, 3u);
  EXPECT_TRUE(ended[0].status.unknown());
  // A reaper of every child reaps it as an orphan.
  const bool is_left = GetParam() == Ownership::kOursAlone;
  EXPECT_EQ(waitpid(pid, nullptr, 0), is_left ? pid : -1);
}

TEST_P(ReaperLostEndsTest, ReapsChildrenThatAHandlerCreated) {
  ReaperHarness harness(GetParam());
  LeaveSiblings(harness, 20);
  EXPECT_TRUE(HasChild());
  harness.AwaitEnded(1);
  Instant now = Instant::clock::now();
  const Instant deadline = now + std::chrono::seconds(10);
  while (HasChild() && now < deadline) {
    EXPECT_THAT(harness.Cleanup(now), IsEmpty());
    now = Instant::clock::now();
  }
  EXPECT_FALSE(HasChild());
  // No other check is due in the end.
  for (int checks = 0; checks < 3; ++checks) {
    harness.Cleanup(now += milliseconds(50));
  }
  EXPECT_EQ(harness.reaper().next_check(), Instant::max());
}

TEST_P(ReaperLostEndsTest, ReapsThemAfterTheirNoticesWereLost) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_SIGPENDING, &before), 0);
  ReaperHarness harness(GetParam());
  const rlimit few = {3, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &few), 0);
  LeaveSiblings(harness, 20);
  harness.AwaitEnded(1);
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &before), 0);
  for (int checks = 0; HasChild() && checks < 10; ++checks) {
    const Instant due = harness.reaper().next_check();
    ASSERT_LT(due, Instant::max())
        << "a check is due although no child is known";
    EXPECT_THAT(harness.Cleanup(due), IsEmpty());
  }
  EXPECT_FALSE(HasChild());
}

using ReaperOfALibraryTest = ::brood::testing::LeakCheck;

// Whatever a notice claims, the reaper must not take the statuses of these
// children.
TEST_F(ReaperOfALibraryTest, DoesNotReapChildrenOfOtherCode) {
  ReaperHarness harness(Ownership::kOursAlone);
  std::set<pid_t> theirs;
  for (const int exit_signal : {SIGCHLD, 0, SIGRTMIN + 5}) {
    const auto before = std::signal(SIGRTMIN + 5, [](int) {});
    const auto pid = static_cast<pid_t>(
        syscall(SYS_clone, exit_signal, nullptr, nullptr, nullptr, nullptr));
    if (pid == 0) _exit(0);
    theirs.insert(pid);
    ReaperHarness::AwaitZombie(pid);
    std::signal(SIGRTMIN + 5, before);
    // A process can send such a notice only to itself.
    siginfo_t notice = {};
    notice.si_signo = harness.reaper().exit_signal();
    notice.si_code = CLD_EXITED;
    notice.si_pid = pid;
    ASSERT_EQ(syscall(SYS_rt_sigqueueinfo, getpid(), notice.si_signo, &notice),
              0);
  }
  const pid_t alive = harness.SpawnIdle();
  Instant now = Instant::clock::now();
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(harness.Cleanup(now += milliseconds(50)), IsEmpty());
  }
  for (const pid_t pid : theirs) {
    EXPECT_EQ(waitpid(pid, nullptr, __WALL), pid);
  }
  harness.reaper().Signal(alive, SIGKILL).IgnoreError();
  harness.AwaitEnded(1);
}

// Then only the kind of wait tells the children of other code from children
// that a handler created.
TEST_F(ReaperOfALibraryTest, DoesNotReapChildrenOfOtherCodeWithoutProc) {
  const pid_t program = fork();
  if (program == 0) {
    auto reaper = Reaper::Create(Ownership::kOursAlone, 4);
    const pid_t theirs = fork();
    if (theirs == 0) _exit(5);
    ReaperHarness::AwaitZombie(theirs);
    ::brood::testing::RefuseCalls({SYS_open, SYS_openat}, EACCES);
    siginfo_t notice = {};
    notice.si_signo = (*reaper)->exit_signal();
    notice.si_code = CLD_EXITED;
    notice.si_pid = theirs;
    syscall(SYS_rt_sigqueueinfo, getpid(), notice.si_signo, &notice);
    (*reaper)->CleanupChildren(Instant::clock::now());
    _exit(waitpid(theirs, nullptr, 0) == theirs ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(program, &status, 0), program);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace brood::proc
