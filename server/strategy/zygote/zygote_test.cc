// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/zygote/zygote.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/server/strategy/zygote/zygote_fixture.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ZygoteTest = ZygoteFixture;

using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(ZygoteTest, StartsAZygoteAndAStandby) {
  EXPECT_EQ(reaper_.tag_of(kZygotePid), ChildTag::Zygote().Pack());
  EXPECT_EQ(reaper_.tag_of(kStandbyPid), ChildTag::Standby().Pack());
  EXPECT_EQ(zygote_->alarm(now_), net::Never());
  EXPECT_TRUE(zygote_->HasRoom());
}

// The doorbell rings before the zygote has read the message.
TEST_F(ZygoteTest, RegistersTheChildOfARehearsalThatCameLate) {
  zygote_->process().doorbell().Notify();
  EXPECT_THAT(zygote_->RehearseAtStart(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_TRUE(RunZygoteStep());
  zygote_->AdoptSpawned();
  EXPECT_EQ(reaper_.tag_of(kFirstChild), ChildTag::Rehearsal().Pack());
  zygote_->AdoptSpawned();
  EXPECT_EQ(reaper_.live(), 3u);
}

TEST_F(ZygoteTest, AnnouncesAChildWhenItAttendsToTheDoorbell) {
  Dispatch(7);
  EXPECT_THAT(events_.Take(), IsEmpty());
  const net::Instant before = net::Now();
  EXPECT_TRUE(RunZygoteStep());
  EXPECT_TRUE(DoorbellRings());
  zygote_->Attend(now_, events_);
  EXPECT_GE(events_.last_time(), before) << "when the zygote forked";
  EXPECT_LE(events_.last_time(), net::Now());
  EXPECT_FALSE(DoorbellRings());
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 103"));
  EXPECT_EQ(reaper_.tag_of(kFirstChild), ChildTag::Connection(7).Pack());
}

// The exit of the child may be noticed before the doorbell is read.
TEST_F(ZygoteTest, AnnouncesAChildThatHasEndedBeforeItsEnd) {
  Dispatch(7);
  RunZygoteStep();
  End(kFirstChild, FakeReaper::Exited(0));
  EXPECT_THAT(
      events_.Take(),
      ElementsAre("serving 7 by 103", "ended 7 by 103: exited with code 0"));
}

TEST_F(ZygoteTest, ReportsAConnectionForWhichTheZygoteCouldNotFork) {
  Dispatch(7);
  spawner_.FailWith(absl::ResourceExhaustedError("clone"));
  errno = EAGAIN;
  RunZygoteStep();
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), SizeIs(1));
  EXPECT_EQ(reaper_.live(), 2u) << "the zygote and its standby";
}

TEST_F(ZygoteTest, HasNoRoomForMoreThanItsQueueHolds) {
  for (Slot slot = 0; slot < PendingChildren::kMost; ++slot) {
    ASSERT_TRUE(zygote_->HasRoom()) << slot;
    Dispatch(slot);
  }
  EXPECT_FALSE(zygote_->HasRoom());
  EXPECT_GE(zygote_->fd(now_), 0) << "the doorbell is urgent now";
  RunZygoteStep();
  zygote_->Attend(now_, events_);
  EXPECT_TRUE(zygote_->HasRoom());
}

TEST_F(ZygoteTest, LetsTheDoorbellWaitForTheNextConnection) {
  EXPECT_GE(zygote_->fd(now_), 0);
  Dispatch(7);
  EXPECT_EQ(zygote_->fd(now_), -1);
  const net::Instant due = net::After(now_, EventBatching::kDelay);
  EXPECT_EQ(zygote_->alarm(now_), due);
  EXPECT_GE(zygote_->fd(due), 0);
}

TEST_F(ZygoteTest, PromotesTheStandbyWhenTheZygoteEnds) {
  Dispatch(7);
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  EXPECT_EQ(reaper_.tag_of(kStandbyPid), ChildTag::Zygote().Pack());
  EXPECT_TRUE(zygote_->HasRoom());
  // The new zygote finds the connection in the queue, and a new standby is
  // requested from it.
  Maintain();
  RunZygoteStep();
  RunZygoteStep();
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 103"));
  EXPECT_EQ(reaper_.tag_of(104), ChildTag::Standby().Pack());
  EXPECT_EQ(zygote_->alarm(net::After(now_, absl::Seconds(1))), net::Never())
      << "it is complete again";
}

// The zygote created the standby, and was killed, after the supervisor had
// registered new children.
TEST_F(ZygoteTest, PromotesAStandbyThatTheZygoteCreatedLast) {
  End(kStandbyPid, FakeReaper::Killed(SIGKILL));
  Maintain();
  reaper_.End(kZygotePid, FakeReaper::Killed(SIGKILL));
  for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now_)) {
    EXPECT_TRUE(RunZygoteStep());
    zygote_->ChildEnded(ChildTag::Unpack(ended.tag), ended, now_, events_);
  }
  EXPECT_TRUE(zygote_->HasRoom());
  EXPECT_EQ(reaper_.tag_of(103), ChildTag::Zygote().Pack());
  EXPECT_EQ(CommandToStandby(), kTakeOver);
}

TEST_F(ZygoteTest, RequestsAnotherStandbyWhenTheStandbyEnds) {
  End(kStandbyPid, FakeReaper::Killed(SIGKILL));
  ASSERT_LE(zygote_->alarm(now_), now_);
  Maintain();
  EXPECT_TRUE(RunZygoteStep());
  zygote_->Attend(now_, events_);
  EXPECT_EQ(reaper_.tag_of(103), ChildTag::Standby().Pack());
  EXPECT_EQ(zygote_->alarm(now_), net::Never());
}

TEST_F(ZygoteTest, RequestsAStandbyAgainWhenTheRequestCouldNotBeSent) {
  shutdown(zygote_->process().queue_fd(), SHUT_RD);
  End(kStandbyPid, FakeReaper::Killed(SIGKILL));
  Maintain();
  EXPECT_GT(zygote_->alarm(now_), now_);
  EXPECT_NE(zygote_->alarm(now_), net::Never());
}

// Otherwise the standby that is created next would take over at once, beside
// the zygote.
TEST_F(ZygoteTest, LeavesNoCommandOfAnEndedZygoteForTheNextStandby) {
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  EXPECT_EQ(CommandToStandby(), kTakeOver);
  End(kStandbyPid, FakeReaper::Killed(SIGKILL));  // before it has read it
  EXPECT_EQ(CommandToStandby(), absl::nullopt);
}

// Children that other strategies fork do not get the table.
TEST_F(ZygoteTest, KeepsTheTableFromOtherChildren) {
  // The child has no Zygote.
  const SpawnTable& table = zygote_->process().table();
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);  // without the report of a sanitizer
    table.Read(0, 1);
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the table was there";
}

// The zygote was killed after it had forked and before it acknowledged the
// message: the standby finds the message again, and must not fork a second
// time.
TEST_F(ZygoteTest, ForksOnceForAConnectionEvenIfTheZygoteIsKilled) {
  Dispatch(7);
  const net::HandoffQueue queue =
      net::HandoffQueue::AdoptAwaiting(dup(zygote_->process().queue_fd()));
  absl::StatusOr<net::HandoffQueue::Message> message = queue.Await();
  ASSERT_THAT(message, IsOk());
  RunZygoteStep();
  // The message is in the queue again, as if it had not been acknowledged.
  EXPECT_EQ(spawner_.count(), 3);
  zygote_->AdoptSpawned();
  EXPECT_EQ(reaper_.tag_of(kFirstChild), ChildTag::Connection(7).Pack());
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 103"));
}

// Both ends are returned by one CleanupChildren(): the standby has become the
// zygote by the time its own end is accounted for.
TEST_F(ZygoteTest, NoticesTheEndOfAStandbyThatWasJustPromoted) {
  reaper_.End(kZygotePid, FakeReaper::Killed(SIGKILL));
  End(kStandbyPid, FakeReaper::Killed(SIGKILL));
  EXPECT_FALSE(zygote_->HasRoom());
  Advance(absl::Seconds(1));
  Maintain();
  EXPECT_TRUE(zygote_->HasRoom()) << "new ones were created";
  EXPECT_EQ(reaper_.tag_of(103), ChildTag::Zygote().Pack());
}

TEST_F(ZygoteTest, AcceptsNoConnectionWhileNeitherCanBeCreated) {
  spawner_.FailWith(absl::FailedPreconditionError("2 threads"));
  reaper_.End(kZygotePid, FakeReaper::Killed(SIGKILL));
  End(kStandbyPid, FakeReaper::Killed(SIGKILL));
  Maintain();
  EXPECT_FALSE(zygote_->HasRoom());
  EXPECT_GT(zygote_->alarm(now_), now_) << "it tries again, but does not spin";
  spawner_.FailWith(absl::OkStatus());
  now_ = zygote_->alarm(now_);
  Maintain();
  EXPECT_TRUE(zygote_->HasRoom());
}

TEST_F(ZygoteTest, TellsBothToExitOnceTheQueueIsEmpty) {
  Dispatch(7);
  zygote_->Close();
  Maintain();
  EXPECT_TRUE(RunZygoteStep()) << "what waits is served first";
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 103"));
  Maintain();
  EXPECT_FALSE(RunZygoteStep()) << "it is told to exit";
  EXPECT_EQ(CommandToStandby(), kExit);
  End(kZygotePid, FakeReaper::Exited(0));
  EXPECT_EQ(reaper_.tag_of(kStandbyPid), ChildTag::Standby().Pack())
      << "which is not promoted any more";
}

TEST_F(ZygoteTest, GivesUpTheQueueWhenItStopsWithoutAZygote) {
  Dispatch(7);
  spawner_.FailWith(absl::FailedPreconditionError("2 threads"));
  reaper_.End(kZygotePid, FakeReaper::Killed(SIGKILL));
  End(kStandbyPid, FakeReaper::Killed(SIGKILL));
  zygote_->Close();
  Maintain();
  EXPECT_THAT(events_.Take(), ElementsAre("failed 7: the zygote has ended"));
}

TEST_F(ZygoteTest, HasOneGeneration) {
  EXPECT_THAT(zygote_->BeginGeneration(),
              StatusIs(absl::StatusCode::kUnimplemented));
}

}  // namespace
}  // namespace brood::server
