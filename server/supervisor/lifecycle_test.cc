// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/lifecycle.h"

#include "gtest/gtest.h"

namespace brood::server {
namespace {

using Action = Lifecycle::Action;
using State = Lifecycle::State;

constexpr absl::Duration kGrace = absl::Seconds(10);
constexpr absl::Duration kInstantBefore = -absl::Nanoseconds(1);
const net::Instant kStart = net::Instant() + std::chrono::hours(1000);

net::Instant At(absl::Duration since_start) {
  return net::After(kStart, since_start);
}

Lifecycle Serving(absl::Duration grace = kGrace) {
  Lifecycle lifecycle(grace);
  lifecycle.Started();
  return lifecycle;
}

// Returns a lifecycle of which a stop was requested at kStart.
Lifecycle Draining(absl::Duration grace = kGrace) {
  Lifecycle lifecycle = Serving(grace);
  lifecycle.RequestStop(kStart);
  return lifecycle;
}

// Returns a lifecycle whose grace was over at kStart, and whose three children
// have been sent SIGTERM.
Lifecycle Terminating() {
  Lifecycle lifecycle = Draining(absl::ZeroDuration());
  EXPECT_EQ(lifecycle.Step(kStart, 3), Action::kTerminate);
  return lifecycle;
}

TEST(LifecycleTest, StartsBeforeItServes) {
  Lifecycle lifecycle(kGrace);
  EXPECT_EQ(lifecycle.state(), State::kStarting);
  lifecycle.Started();
  EXPECT_EQ(lifecycle.state(), State::kServing);
  EXPECT_FALSE(lifecycle.draining());
  EXPECT_FALSE(lifecycle.stopped());
}

TEST(LifecycleTest, ServesUntilAStopIsRequested) {
  Lifecycle lifecycle = Serving();
  EXPECT_EQ(lifecycle.deadline(), net::Never());
  for (size_t live_children : {0, 1, 1000}) {
    EXPECT_EQ(lifecycle.Step(kStart, live_children), Action::kNone);
    EXPECT_EQ(lifecycle.Step(net::Never(), live_children), Action::kNone);
  }
  EXPECT_EQ(lifecycle.state(), State::kServing);
  EXPECT_TRUE(lifecycle.accepting());
}

TEST(LifecycleTest, DrainsAtTheFirstRequestToStop) {
  Lifecycle lifecycle = Draining();
  EXPECT_EQ(lifecycle.state(), State::kDraining);
  EXPECT_TRUE(lifecycle.draining());
  EXPECT_EQ(lifecycle.deadline(), At(kGrace));
  EXPECT_EQ(lifecycle.Step(kStart, 3), Action::kNone);
}

TEST(LifecycleTest, DrainsAlsoIfItIsStoppedWhileItStarts) {
  Lifecycle lifecycle(kGrace);
  lifecycle.RequestStop(kStart);
  EXPECT_EQ(lifecycle.state(), State::kDraining);
  lifecycle.QueueIsEmpty();
  EXPECT_EQ(lifecycle.Step(kStart, 0), Action::kNone);
  EXPECT_TRUE(lifecycle.stopped());
}

TEST(LifecycleTest, AcceptsWhileItDrainsUntilTheQueueIsEmpty) {
  Lifecycle lifecycle = Draining();
  EXPECT_TRUE(lifecycle.accepting());
  lifecycle.QueueIsEmpty();
  EXPECT_FALSE(lifecycle.accepting());
  EXPECT_TRUE(lifecycle.draining());
}

// A client may still wait in the kernel's queue.
TEST(LifecycleTest, DoesNotStopBeforeTheQueueIsEmpty) {
  Lifecycle lifecycle = Draining();
  EXPECT_EQ(lifecycle.Step(kStart, 0), Action::kNone);
  EXPECT_TRUE(lifecycle.draining());
  lifecycle.QueueIsEmpty();
  EXPECT_EQ(lifecycle.Step(kStart, 0), Action::kNone);
  EXPECT_TRUE(lifecycle.stopped());
}

TEST(LifecycleTest, StopsAtOnceIfNoChildIsLeft) {
  Lifecycle lifecycle = Draining();
  lifecycle.QueueIsEmpty();
  EXPECT_EQ(lifecycle.Step(kStart, 0), Action::kNone);
  EXPECT_EQ(lifecycle.state(), State::kStopped);
  EXPECT_EQ(lifecycle.deadline(), net::Never());
}

TEST(LifecycleTest, LeavesChildrenInPeaceDuringTheGrace) {
  Lifecycle lifecycle = Draining();
  lifecycle.QueueIsEmpty();
  EXPECT_EQ(lifecycle.Step(kStart, 2), Action::kNone);
  EXPECT_EQ(lifecycle.Step(At(kGrace + kInstantBefore), 1), Action::kNone);
  EXPECT_EQ(lifecycle.deadline(), At(kGrace));
  EXPECT_EQ(lifecycle.Step(At(kGrace + kInstantBefore), 0), Action::kNone);
  EXPECT_TRUE(lifecycle.stopped());
}

TEST(LifecycleTest, TerminatesOnceWhenTheGraceIsOver) {
  Lifecycle lifecycle = Draining();
  lifecycle.QueueIsEmpty();
  EXPECT_EQ(lifecycle.Step(At(kGrace), 3), Action::kTerminate);
  EXPECT_EQ(lifecycle.state(), State::kTerminating);
  EXPECT_EQ(lifecycle.Step(At(kGrace), 3), Action::kNone);
}

TEST(LifecycleTest, AcceptsNoConnectionOnceItTerminates) {
  Lifecycle lifecycle = Draining();
  EXPECT_TRUE(lifecycle.accepting());
  EXPECT_EQ(lifecycle.Step(At(kGrace), 0), Action::kTerminate);
  EXPECT_FALSE(lifecycle.accepting());
  EXPECT_EQ(lifecycle.Step(At(kGrace), 0), Action::kNone);
  EXPECT_TRUE(lifecycle.stopped());
}

TEST(LifecycleTest, TerminatesAtOnceWithoutAGrace) {
  Lifecycle lifecycle = Draining(absl::ZeroDuration());
  EXPECT_EQ(lifecycle.Step(kStart, 1), Action::kTerminate);
}

TEST(LifecycleTest, TerminatesAtOnceAtTheSecondRequestToStop) {
  Lifecycle lifecycle = Draining();
  EXPECT_EQ(lifecycle.Step(At(absl::Seconds(1)), 1), Action::kNone);
  lifecycle.RequestStop(At(absl::Seconds(2)));
  EXPECT_EQ(lifecycle.deadline(), At(absl::Seconds(2)));
  EXPECT_EQ(lifecycle.Step(At(absl::Seconds(2)), 1), Action::kTerminate);
}

TEST(LifecycleTest, TerminatesAtOnceAtTwoRequestsInOneTurn) {
  Lifecycle lifecycle = Draining();
  lifecycle.RequestStop(kStart);
  EXPECT_EQ(lifecycle.Step(kStart, 1), Action::kTerminate);
}

TEST(LifecycleTest, KillsAtOnceAtTheThirdRequest) {
  Lifecycle lifecycle = Terminating();
  lifecycle.RequestStop(kStart);
  EXPECT_EQ(lifecycle.Step(kStart, 3), Action::kKill);
}

TEST(LifecycleTest, WaitsWithoutALimitIfTheGraceIsInfinite) {
  Lifecycle lifecycle = Draining(absl::InfiniteDuration());
  EXPECT_EQ(lifecycle.deadline(), net::Never());
  EXPECT_EQ(lifecycle.Step(At(absl::Hours(24 * 365 * 100)), 1), Action::kNone);
  lifecycle.RequestStop(At(absl::Seconds(1)));
  EXPECT_EQ(lifecycle.Step(At(absl::Seconds(1)), 1), Action::kTerminate);
}

// Returns a lifecycle of a server that another program has replaced at kStart.
Lifecycle Replaced() {
  Lifecycle lifecycle = Serving();
  lifecycle.DrainForUpgrade(kStart);
  return lifecycle;
}

TEST(LifecycleTest, WaitsWithoutALimitWhenAnotherProgramServes) {
  Lifecycle lifecycle = Replaced();
  EXPECT_TRUE(lifecycle.draining());
  EXPECT_TRUE(lifecycle.accepting()) << "the client in the queue";
  EXPECT_EQ(lifecycle.deadline(), net::Never());
  for (int i = 1; i <= 3; ++i) {
    const net::Instant now = At(i * Lifecycle::kReportPeriod);
    EXPECT_EQ(lifecycle.next_step(), now);
    EXPECT_EQ(lifecycle.Step(net::After(now, kInstantBefore), 1),
              Action::kNone);
    EXPECT_EQ(lifecycle.Step(now, 1), Action::kReport);
    EXPECT_EQ(lifecycle.Step(now, 1), Action::kNone);
  }
  lifecycle.QueueIsEmpty();
  EXPECT_EQ(lifecycle.Step(At(absl::Hours(1)), 0), Action::kNone);
  EXPECT_TRUE(lifecycle.stopped());
  EXPECT_EQ(lifecycle.next_step(), net::Never());
  lifecycle.RequestStop(At(absl::Hours(1)));
  EXPECT_TRUE(lifecycle.stopped());
}

TEST(LifecycleTest, CountsTheGraceFromTheRequestToStop) {
  Lifecycle lifecycle = Replaced();
  const net::Instant asked = At(absl::Hours(1));
  lifecycle.RequestStop(asked);
  EXPECT_EQ(lifecycle.deadline(), net::After(asked, kGrace));
  EXPECT_EQ(lifecycle.next_step(), lifecycle.deadline()) << "no report";
  EXPECT_EQ(lifecycle.Step(asked, 1), Action::kNone);
  EXPECT_EQ(lifecycle.Step(net::After(asked, kGrace), 1), Action::kTerminate);
}

TEST(LifecycleTest, IsNotReplacedWhenItStopsAlready) {
  Lifecycle lifecycle = Draining();
  lifecycle.DrainForUpgrade(kStart);
  EXPECT_EQ(lifecycle.deadline(), At(kGrace));
}

TEST(LifecycleTest, AbortsAlsoWhenAnotherProgramServes) {
  Lifecycle lifecycle = Replaced();
  lifecycle.Abort(kStart);
  EXPECT_EQ(lifecycle.Step(kStart, 1), Action::kTerminate);
  EXPECT_EQ(lifecycle.Step(kStart, 1), Action::kKill);
}

TEST(LifecycleTest, GivesTerminatedChildrenTheKillDelay) {
  Lifecycle lifecycle = Terminating();
  EXPECT_EQ(lifecycle.deadline(), At(Lifecycle::kKillDelay));
  EXPECT_EQ(lifecycle.Step(At(Lifecycle::kKillDelay + kInstantBefore), 1),
            Action::kNone);
  EXPECT_EQ(lifecycle.Step(At(Lifecycle::kKillDelay), 1), Action::kKill);
}

// A busy parent may be late; its children must have the whole delay all the
// same.
TEST(LifecycleTest, CountsTheKillDelayFromTheTermination) {
  Lifecycle lifecycle = Draining();
  const net::Instant late = At(kGrace + absl::Seconds(5));
  EXPECT_EQ(lifecycle.Step(late, 1), Action::kTerminate);
  EXPECT_EQ(lifecycle.deadline(), net::After(late, Lifecycle::kKillDelay));
}

TEST(LifecycleTest, KillsRepeatedlyUntilNoChildIsLeft) {
  Lifecycle lifecycle = Terminating();
  net::Instant now = At(Lifecycle::kKillDelay);
  for (int i = 1; i <= 10; ++i) {
    EXPECT_EQ(lifecycle.deadline(), now);
    EXPECT_EQ(lifecycle.Step(now, 1), Action::kKill);
    EXPECT_EQ(lifecycle.Step(now, 1), Action::kNone);
    now = net::After(now, Lifecycle::kLookPeriod);
  }
  EXPECT_EQ(lifecycle.Step(now, 0), Action::kNone);
  EXPECT_TRUE(lifecycle.stopped());
}

TEST(LifecycleTest, KillsLooksAndGivesUpWithin200MsAfterTheGrace) {
  EXPECT_LT(
      Lifecycle::kKillDelay + (Lifecycle::kLooks - 1) * Lifecycle::kLookPeriod,
      absl::Milliseconds(200));
}

TEST(LifecycleTest, GivesUpAChildThatNeverEnds) {
  Lifecycle lifecycle = Terminating();
  const net::Instant killed = At(Lifecycle::kKillDelay);
  EXPECT_EQ(lifecycle.Step(killed, 1), Action::kKill);
  const net::Instant end = net::After(killed, Lifecycle::kLongestDeath);
  EXPECT_EQ(lifecycle.Step(net::After(end, kInstantBefore), 1), Action::kKill);
  const net::Instant late = net::After(end, Lifecycle::kLookPeriod);
  EXPECT_EQ(lifecycle.Step(late, 1), Action::kGiveUp);
  EXPECT_EQ(lifecycle.Step(late, 1), Action::kNone);
  EXPECT_EQ(lifecycle.deadline(), net::After(late, Lifecycle::kLookPeriod));
  EXPECT_EQ(lifecycle.Step(late, 0), Action::kNone);
  EXPECT_TRUE(lifecycle.stopped());
}

TEST(LifecycleTest, StopsWithTheLastTerminatedChild) {
  Lifecycle lifecycle = Terminating();
  EXPECT_EQ(lifecycle.Step(kStart, 1), Action::kNone);
  EXPECT_FALSE(lifecycle.stopped());
  EXPECT_EQ(lifecycle.Step(kStart, 0), Action::kNone);
  EXPECT_TRUE(lifecycle.stopped());
  EXPECT_EQ(lifecycle.deadline(), net::Never());
}

TEST(LifecycleTest, HasNothingLeftToDoOnceStopped) {
  Lifecycle lifecycle = Draining();
  lifecycle.QueueIsEmpty();
  EXPECT_EQ(lifecycle.Step(kStart, 0), Action::kNone);
  EXPECT_EQ(lifecycle.Step(At(2 * kGrace), 0), Action::kNone);
  EXPECT_FALSE(lifecycle.accepting());
  lifecycle.RequestStop(At(2 * kGrace));
  EXPECT_TRUE(lifecycle.stopped());
  EXPECT_EQ(lifecycle.Step(At(3 * kGrace), 0), Action::kNone);
  EXPECT_EQ(lifecycle.deadline(), net::Never());
}

}  // namespace
}  // namespace brood::server
