// SPDX-License-Identifier: Apache-2.0

// Children that do not end when they are killed: a tracer holds the status of a
// dead child, or the parent may not signal a child.

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/proc/child.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/reaper_harness.h"
#include "brood/testing/support/tracing/tracer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ReaperHarness;
using ::brood::testing::Tracer;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Ownership = Reaper::Ownership;
using Instant = Reaper::Instant;
using std::chrono::milliseconds;

constexpr uid_t kNobody = 65534;

class ReaperHeldTest : public ::brood::testing::LeakCheck,
                       public ::testing::WithParamInterface<Ownership> {
 protected:
  static bool HasChild() {
    siginfo_t ignored;
    return waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT | __WALL) ==
           0;
  }
  // Calls CleanupChildren() whenever it is due, from `from` on and for
  // `length`. Returns the ends that it returned.
  static std::vector<Reaper::Ended> CleanupFor(ReaperHarness& harness,
                                               Instant from,
                                               milliseconds length) {
    std::vector<Reaper::Ended> all;
    for (Instant now = from; now <= from + length; now += milliseconds(50)) {
      for (const Reaper::Ended& each : harness.Cleanup(now)) {
        all.push_back(each);
      }
    }
    return all;
  }
};

INSTANTIATE_TEST_SUITE_P(OfBothKinds, ReaperHeldTest,
                         ::testing::Values(Ownership::kOursAlone,
                                           Ownership::kEveryChild),
                         [](const auto& info) {
                           return info.param == Ownership::kOursAlone
                                      ? "OursAlone"
                                      : "EveryChild";
                         });

TEST_P(ReaperHeldTest, ReturnsKilledChildSoonAndReapsItLater) {
  ReaperHarness harness(GetParam());
  const Instant now = Instant::clock::now();
  const pid_t pid = harness.SpawnIdle(/*tag=*/5);
  Tracer tracer({pid});
  ASSERT_THAT(harness.reaper().Signal(pid, SIGKILL), IsOk());
  Tracer::AwaitDeath(pid);
  const std::vector<Reaper::Ended> ended =
      CleanupFor(harness, now, milliseconds(1300));
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].pid, pid);
  EXPECT_EQ(ended[0].tag, 5u);
  EXPECT_TRUE(ended[0].status.held());
  EXPECT_EQ(harness.reaper().live(), 0u);
  EXPECT_FALSE(harness.reaper().Signal(pid, SIGKILL).ok());
  tracer.LetGo();
  EXPECT_TRUE(harness.HasNotice());
  EXPECT_THAT(harness.CleanupByQueue(), IsEmpty())
      << "the child was returned already";
  EXPECT_FALSE(HasChild());
}

// Killed children are checked before others, however many there are.
TEST_P(ReaperHeldTest, ReturnsKilledChildrenSoonAmongManyOthers) {
  ReaperHarness harness(GetParam());
  std::vector<pid_t> killed;
  for (uint32_t tag = 0; tag < 40; ++tag) {
    const pid_t pid = harness.SpawnIdle(tag);
    if (tag % 4 == 0) killed.push_back(pid);
  }
  Tracer tracer(killed);
  for (const pid_t pid : killed) {
    ASSERT_THAT(harness.reaper().Signal(pid, SIGKILL), IsOk());
    Tracer::AwaitDeath(pid);
  }
  EXPECT_THAT(CleanupFor(harness, Instant::clock::now(), milliseconds(1300)),
              SizeIs(killed.size()));
  tracer.LetGo();
}

TEST_P(ReaperHeldTest, ChecksAllChildrenOnRequest) {
  ReaperHarness harness(GetParam());
  std::vector<pid_t> pids;
  for (uint32_t tag = 0; tag < 40; ++tag) {
    pids.push_back(harness.SpawnIdle(tag));
  }
  // Alternate children are alive, or dead and held.
  std::vector<pid_t> victims;
  for (size_t i = 0; i < pids.size(); i += 2) victims.push_back(pids[i]);
  Tracer tracer(victims);
  for (const pid_t pid : victims) {
    kill(pid, SIGKILL);
    Tracer::AwaitDeath(pid);
  }
  const Instant now = Instant::clock::now();
  harness.reaper().LookForHeld(true);
  std::vector<Reaper::Ended> ended =
      CleanupFor(harness, now, milliseconds(200));
  EXPECT_THAT(ended, SizeIs(victims.size()));
  for (const Reaper::Ended& each : ended) EXPECT_TRUE(each.status.held());
  EXPECT_EQ(harness.reaper().live(), 20u);
  tracer.LetGo();
}

// There may be more of them: a process can trace many others.
TEST_P(ReaperHeldTest, ChecksAllAgainAtOnceAfterARoundThatFoundSome) {
  ReaperHarness harness(GetParam());
  std::vector<pid_t> victims;
  for (uint32_t tag = 0; tag < 40; ++tag) {
    const pid_t pid = harness.SpawnIdle(tag);
    if (tag % 4 == 0) victims.push_back(pid);
  }
  Tracer tracer(victims);
  const auto die = [](pid_t pid) {
    kill(pid, SIGKILL);
    Tracer::AwaitDeath(pid);
  };
  die(victims[0]);
  harness.reaper().LookForHeld(true);
  const Instant now = Instant::clock::now() + milliseconds(50);
  EXPECT_THAT(CleanupFor(harness, now, milliseconds(50)), SizeIs(1));
  for (size_t i = 1; i < victims.size(); ++i) die(victims[i]);
  EXPECT_THAT(CleanupFor(harness, now + milliseconds(100), milliseconds(150)),
              SizeIs(victims.size() - 1));
  tracer.LetGo();
}

// Returns how often this process has called read(2), which a check of a child
// does once; nothing if the kernel does not count.
absl::optional<int> Reads() {
  std::ifstream io("/proc/self/io");
  for (std::string line; std::getline(io, line);) {
    int count;
    if (std::sscanf(line.c_str(), "syscr: %d", &count) == 1) return count;
  }
  return absl::nullopt;
}

// A server may be full for hours: a round of checks that found none is followed
// by a pause.
TEST_P(ReaperHeldTest, ChecksAllChildrenOnceASecondIfNoneIsHeld) {
  constexpr int kChildren = 40;
  ReaperHarness harness(GetParam());
  for (uint32_t tag = 0; tag < kChildren; ++tag) harness.SpawnIdle(tag);
  harness.reaper().LookForHeld(true);
  const absl::optional<int> before = Reads();
  if (!before) GTEST_SKIP() << "the kernel does not count calls of read";
  Instant now = Instant::clock::now();
  EXPECT_THAT(CleanupFor(harness, now, std::chrono::seconds(10)), IsEmpty());
  const int checks = *Reads() - *before;
  EXPECT_GE(checks, 10 * kChildren);
  EXPECT_LE(checks, 11 * kChildren + 250) << "and one in each sweep";
}

// While one thread is traced, the whole process cannot be reaped.
TEST_P(ReaperHeldTest, FindsChildWithOneTracedThread) {
  ReaperHarness harness(GetParam());
  int tids[2];
  ASSERT_EQ(pipe(tids), 0);
  const pid_t pid = harness.Spawn([&] {
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void* fd) -> void* {
          const auto tid = static_cast<pid_t>(syscall(SYS_gettid));
          (void)!write(*static_cast<int*>(fd), &tid, sizeof(tid));
          for (;;) pause();
        },
        &tids[1]);
    for (;;) pause();
    return 0;
  });
  pid_t tid;
  ASSERT_EQ(read(tids[0], &tid, sizeof(tid)),
            static_cast<ssize_t>(sizeof(tid)));
  for (const int fd : tids) close(fd);
  Tracer tracer({tid});
  ASSERT_THAT(harness.reaper().Signal(pid, SIGKILL), IsOk());
  Tracer::AwaitDeath(pid);
  Tracer::AwaitDeath(tid);  // may be later
  const std::vector<Reaper::Ended> ended =
      CleanupFor(harness, Instant::clock::now(), milliseconds(1500));
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_TRUE(ended[0].status.held());
  tracer.LetGo();
  EXPECT_THAT(harness.CleanupByQueue(), IsEmpty());
}

// Each sweep checks one of the children that were not killed.
TEST_P(ReaperHeldTest, FindsEachHeldChildInTheEnd) {
  ReaperHarness harness(GetParam());
  std::vector<pid_t> pids;
  for (uint32_t tag = 0; tag < 10; ++tag) {
    pids.push_back(harness.SpawnIdle(tag));
  }
  Tracer tracer({pids[3], pids[8]});
  for (const pid_t pid : {pids[3], pids[8]}) {
    kill(pid, SIGKILL);
    Tracer::AwaitDeath(pid);
  }
  EXPECT_THAT(CleanupFor(harness, Instant::clock::now(), milliseconds(600)),
              SizeIs(2));
  tracer.LetGo();
}

TEST_P(ReaperHeldTest, DoesNotReturnLiveChildren) {
  ReaperHarness harness(GetParam());
  const pid_t pid = harness.SpawnIdle();
  harness.reaper().LookForHeld(true);
  EXPECT_THAT(CleanupFor(harness, Instant::clock::now(), milliseconds(2000)),
              IsEmpty());
  // While a child lives, its tracer does not matter.
  Tracer tracer({pid});
  EXPECT_THAT(CleanupFor(harness, Instant::clock::now() + milliseconds(3000),
                         milliseconds(2000)),
              IsEmpty());
}

TEST_P(ReaperHeldTest, ChildrenThatCanBeKilledAreNotUnkillable) {
  ReaperHarness harness(GetParam());
  EXPECT_FALSE(harness.reaper().HasOnlyUnkillable()) << "no child is live";
  const pid_t pid = harness.SpawnIdle();
  EXPECT_FALSE(harness.reaper().HasOnlyUnkillable());
  ASSERT_THAT(harness.reaper().Signal(pid, SIGKILL), IsOk());
  EXPECT_FALSE(harness.reaper().HasOnlyUnkillable());
  harness.AwaitEnded(1);
}

// Runs `body` in a process that may give up root. `body` returns the number of
// the step that failed, or 0.
int InAProcess(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = -1;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  return WEXITSTATUS(status);
}

// Returns the number of the step that failed, or 0.
int GiveUpAChildOfRoot(Ownership ownership) {
  absl::StatusOr<std::unique_ptr<Reaper>> reaper = Reaper::Create(ownership, 4);
  auto spawner = CloneSpawner::Create((*reaper)->exit_signal());
  if (!spawner->Prepare().ok()) return 1;
  int end[2];
  if (pipe(end) < 0) return 2;
  absl::StatusOr<SpawnedChild> child = spawner->Spawn([&] {
    char byte;
    close(end[1]);
    return read(end[0], &byte, 1) == 0 ? 0 : 1;
  });
  if (!child.ok()) return 3;
  const pid_t pid = child->pid();
  (*reaper)->Adopt(*std::move(child), 6);
  if (setresuid(kNobody, kNobody, kNobody) < 0) return 4;
  // Afterwards no sweep is due for a while.
  (*reaper)->CleanupChildren(Instant::clock::now());

  if (!absl::IsPermissionDenied((*reaper)->Signal(pid, SIGTERM))) return 5;
  if ((*reaper)->HasOnlyUnkillable()) return 6;
  const Reaper::Refused refused = (*reaper)->SignalAll(SIGKILL, 99);
  if (refused.count != 1 || refused.pid != pid) return 7;
  if (!absl::IsPermissionDenied(refused.why)) return 8;
  if (!(*reaper)->HasOnlyUnkillable()) return 9;

  std::array<pid_t, 4> pids = {};
  if ((*reaper)->GiveUp(absl::MakeSpan(pids)) != 1 || pids[0] != pid) return 10;
  const Instant now = Instant::clock::now();
  if ((*reaper)->next_check() > now) return 11;
  const absl::Span<const Reaper::Ended> ended = (*reaper)->CleanupChildren(now);
  if (ended.size() != 1 || ended[0].tag != 6) return 12;
  if (!ended[0].status.given_up()) return 13;
  if ((*reaper)->live() != 0) return 14;
  if ((*reaper)->next_check() != Instant::max()) return 15;
  // When the child ends later, its exit signal must not end this process,
  // although no reaper claims the signal any more.
  reaper->reset();
  for (const int fd : end) close(fd);
  siginfo_t ignored;
  if (waitid(P_PID, static_cast<id_t>(pid), &ignored,
             WEXITED | WNOWAIT | __WALL) < 0) {
    return 16;
  }
  return waitpid(pid, nullptr, __WALL) == pid ? 0 : 17;
}

TEST_P(ReaperHeldTest, GivesUpChildThatItMayNotSignal) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give up root";
  EXPECT_EQ(InAProcess([] { return GiveUpAChildOfRoot(GetParam()); }), 0);
}

}  // namespace
}  // namespace brood::proc
