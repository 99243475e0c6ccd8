// SPDX-License-Identifier: Apache-2.0

// A reaper with children that another process has created, and with children
// whose tag changes.

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/proc/child.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/reaper_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ReaperHarness;
using ::testing::SizeIs;
using Ownership = Reaper::Ownership;
using Instant = Reaper::Instant;

using ReaperOfEveryChildTest = ::brood::testing::LeakCheck;

class ReaperOfOthersTest : public ::brood::testing::LeakCheck,
                           public ::testing::WithParamInterface<Ownership> {};

INSTANTIATE_TEST_SUITE_P(Children, ReaperOfOthersTest,
                         ::testing::Values(Ownership::kOursAlone,
                                           Ownership::kEveryChild),
                         [](const auto& info) {
                           return info.param == Ownership::kOursAlone
                                      ? "OursAlone"
                                      : "EveryChild";
                         });

// A child of a fork server may end before the table of the fork server is read.
TEST_P(ReaperOfOthersTest, ReturnsAChildThatEndedBeforeItWasAdopted) {
  ReaperHarness harness(GetParam());
  Reaper& reaper = harness.reaper();
  auto spawner = CloneSpawner::Create(reaper.exit_signal());
  ASSERT_THAT(spawner, IsOk());
  ASSERT_THAT(spawner->Prepare(), IsOk());
  absl::StatusOr<Child> child = spawner->Spawn([] { return 5; });
  ASSERT_THAT(child, IsOk());
  const pid_t pid = child->pid();
  ReaperHarness::AwaitZombie(pid);
  EXPECT_THAT(reaper.CleanupChildren(Instant::clock::now()), SizeIs(0));
  reaper.Adopt(*std::move(child), /*tag=*/9);
  EXPECT_EQ(reaper.live(), 1u);
  EXPECT_EQ(reaper.next_check(), Instant::min())
      << "the next check is due at once";
  // This call is at a time when no sweep is due.
  const auto ended = reaper.CleanupChildren(Instant::min());
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].pid, pid);
  EXPECT_EQ(ended[0].tag, 9u);
  EXPECT_EQ(ended[0].status.code(), 5);
  EXPECT_EQ(reaper.live(), 0u);
}

// The sweep of any child reaps the child before it is adopted.
TEST_F(ReaperOfEveryChildTest, ReturnsAChildThatItReapedBeforeItWasAdopted) {
  ReaperHarness harness(Ownership::kEveryChild);
  Reaper& reaper = harness.reaper();
  auto spawner = CloneSpawner::Create(/*exit_signal=*/0);
  ASSERT_THAT(spawner, IsOk());
  ASSERT_THAT(spawner->Prepare(), IsOk());
  absl::StatusOr<Child> child = spawner->Spawn([] { return 5; });
  ASSERT_THAT(child, IsOk());
  ReaperHarness::AwaitZombie(child->pid());
  const Instant later = Instant::clock::now() + std::chrono::hours(1);
  EXPECT_THAT(reaper.CleanupChildren(later), SizeIs(0));
  reaper.Adopt(*std::move(child), /*tag=*/9);
  EXPECT_EQ(reaper.live(), 1u);
  EXPECT_EQ(reaper.next_check(), Instant::min())
      << "the next check is due at once";
  const auto ended = reaper.CleanupChildren(later);
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(ended[0].tag, 9u);
  EXPECT_EQ(ended[0].status.code(), 5);
  EXPECT_EQ(reaper.live(), 0u);
}

// Once all children are adopted, the pid may be given to another process.
TEST_F(ReaperOfEveryChildTest, ForgetsThePidsOfOrphans) {
  ReaperHarness harness(Ownership::kEveryChild);
  Reaper& reaper = harness.reaper();
  auto spawner = CloneSpawner::Create(/*exit_signal=*/0);
  ASSERT_THAT(spawner, IsOk());
  ASSERT_THAT(spawner->Prepare(), IsOk());
  absl::StatusOr<Child> orphan = spawner->Spawn([] { return 5; });
  ASSERT_THAT(orphan, IsOk());
  const pid_t pid = std::move(*orphan).Release();
  ReaperHarness::AwaitZombie(pid);
  const Instant later = Instant::clock::now() + std::chrono::hours(1);
  EXPECT_THAT(reaper.CleanupChildren(later), SizeIs(0));
  reaper.ForgetUnclaimed();
  // A later child with the same pid is not confused with the orphan. (It is
  // gone, so its status counts as taken by another wait call.)
  reaper.Adopt(Child::Adopt(pid), /*tag=*/9);
  const auto ended = reaper.CleanupChildren(later + std::chrono::hours(1));
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_TRUE(ended[0].status.unknown());
}

TEST_P(ReaperOfOthersTest, ReturnsChildWithItsLastTag) {
  ReaperHarness harness(GetParam());
  const pid_t pid = harness.SpawnIdle(/*tag=*/1);
  const pid_t other = harness.SpawnIdle(/*tag=*/2);
  harness.reaper().Retag(pid, 7);
  harness.reaper().Retag(5000001, 8);  // no child: no effect
  harness.reaper().SignalAll(SIGKILL, /*spared=*/~0U);
  std::map<pid_t, uint32_t> tags;
  for (const Reaper::Ended& ended : harness.AwaitEnded(2)) {
    tags[ended.pid] = ended.tag;
  }
  EXPECT_EQ(tags, (std::map<pid_t, uint32_t>{{pid, 7}, {other, 2}}));
}

TEST_P(ReaperOfOthersTest, NeitherSignalsNorReturnsDisownedChild) {
  ReaperHarness harness(GetParam());
  auto spawner = CloneSpawner::Create(/*exit_signal=*/0);
  ASSERT_THAT(spawner, IsOk());
  ASSERT_THAT(spawner->Prepare(), IsOk());
  absl::StatusOr<Child> child = spawner->Spawn([]() -> int {
    for (;;) pause();
  });
  ASSERT_THAT(child, IsOk());
  const pid_t pid = child->pid();
  harness.reaper().Adopt(*std::move(child), /*tag=*/1);
  EXPECT_FALSE(harness.reaper().Disown(pid));
  EXPECT_EQ(harness.reaper().live(), 0u);
  harness.reaper().SignalAll(SIGKILL, /*spared=*/~0U);
  EXPECT_FALSE(harness.reaper().Signal(pid, SIGKILL).ok());
  EXPECT_THAT(harness.Cleanup(Instant::clock::now() + std::chrono::hours(1)),
              SizeIs(0));
  EXPECT_EQ(kill(pid, SIGKILL), 0) << "the child is alive";
  EXPECT_EQ(waitpid(pid, nullptr, __WALL), pid) << "and is still a child";
  EXPECT_FALSE(harness.reaper().Disown(5000001)) << "not a child";
}

TEST_P(ReaperOfOthersTest, DisownReturnsStatusOfDeadChild) {
  ReaperHarness harness(GetParam());
  auto spawner = CloneSpawner::Create(/*exit_signal=*/0);
  ASSERT_THAT(spawner, IsOk());
  ASSERT_THAT(spawner->Prepare(), IsOk());
  absl::StatusOr<Child> child = spawner->Spawn([] { return 6; });
  ASSERT_THAT(child, IsOk());
  const pid_t pid = child->pid();
  harness.reaper().Adopt(*std::move(child), /*tag=*/1);
  ReaperHarness::AwaitZombie(pid);
  const absl::optional<ExitStatus> status = harness.reaper().Disown(pid);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code(), 6);
  EXPECT_EQ(harness.reaper().live(), 0u);
}

TEST_P(ReaperOfOthersTest, SignalsItsChildrenAndNoOtherProcess) {
  ReaperHarness harness(GetParam()), neighbour(Ownership::kOursAlone);
  for (int i = 0; i < 40; ++i) harness.SpawnIdle();
  const pid_t stranger = neighbour.SpawnIdle();
  harness.SpawnZombie([] { return 3; });  // has ended already
  harness.reaper().SignalAll(SIGTERM, /*spared=*/~0U);
  int terminated = 0;
  for (const Reaper::Ended& ended : harness.AwaitEnded(41)) {
    if (!ended.status.exited()) terminated += ended.status.signal() == SIGTERM;
  }
  EXPECT_EQ(terminated, 40);
  siginfo_t info = {};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(stranger), &info,
                   WEXITED | WNOHANG | WNOWAIT | __WALL),
            0);
  EXPECT_EQ(info.si_pid, 0) << "the child of the other reaper has ended";
  harness.reaper().SignalAll(SIGTERM, /*spared=*/~0U);  // no child is left
}

}  // namespace
}  // namespace brood::proc
