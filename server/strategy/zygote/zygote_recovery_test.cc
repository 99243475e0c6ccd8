// SPDX-License-Identifier: Apache-2.0

// Tests a zygote that ends, that does nothing, whose queue another process has
// changed, or that has other rights than the program.

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/server/strategy/zygote/zygote.h"
#include "brood/server/strategy/zygote/zygote_fixture.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::brood::testing::RefuseCalls;
using ::brood::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ZygoteRecoveryTest : public ZygoteFixture {
 protected:
  // Removes the first message of the queue, as a process may do that has got a
  // copy of its end.
  void StealMessage() {
    const net::HandoffQueue stolen =
        net::HandoffQueue::AdoptAwaiting(dup(zygote_->process().queue_fd()));
    EXPECT_TRUE(*stolen.TakeBack());
  }

  // Lets the queue hold few messages.
  void ShortenQueue() {
    const int least = 1;
    EXPECT_EQ(setsockopt(zygote_->queue().fd_to_offer(), SOL_SOCKET, SO_SNDBUF,
                         &least, sizeof(least)),
              0);
  }

  // Moves the clock on by the time after which a zygote that does nothing is
  // stalled.
  void LetStall() {
    Advance(Zygote::kLongestStall);
    Maintain();
  }
};

TEST_F(ZygoteRecoveryTest, GivesUpAMessageThatWasRemovedFromTheQueue) {
  for (const Slot slot : {7, 8, 9}) Dispatch(slot);
  StealMessage();
  EXPECT_TRUE(RunZygoteStep());
  zygote_->Attend(now_, events_);
  EXPECT_THAT(
      events_.Take(),
      ElementsAre(
          "failed 7: its message was removed from the queue of the zygote",
          "serving 8 by 103"));
  EXPECT_TRUE(RunZygoteStep());
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 9 by 104"));
}

// No message follows, so only the time shows that it is missing.
TEST_F(ZygoteRecoveryTest, GivesUpTheLastMessageThatWasRemoved) {
  Dispatch(7);
  StealMessage();
  EXPECT_EQ(zygote_->alarm(now_), net::After(now_, EventBatching::kDelay));
  Advance(EventBatching::kDelay);
  EXPECT_EQ(zygote_->alarm(now_),
            net::After(now_, Zygote::kLongestStall - EventBatching::kDelay));
  Maintain();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), IsEmpty());
  LetStall();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), ElementsAre(SIGKILL));
  EXPECT_THAT(events_.Take(), IsEmpty());
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  Maintain();
  EXPECT_THAT(
      events_.Take(),
      ElementsAre(
          "failed 7: its message was removed from the queue of the zygote"));
  EXPECT_EQ(CommandToStandby(), kTakeOver);
}

TEST_F(ZygoteRecoveryTest, GivesTheMessagesOfAStalledZygoteToTheStandby) {
  for (const Slot slot : {7, 8}) Dispatch(slot);
  LetStall();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), ElementsAre(SIGKILL));
  LetStall();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), ElementsAre(SIGKILL)) << "once";
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  EXPECT_TRUE(RunZygoteStep());
  EXPECT_TRUE(RunZygoteStep());
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(),
              ElementsAre("serving 7 by 103", "serving 8 by 104"));
}

TEST_F(ZygoteRecoveryTest, WaitsForAZygoteThatDoesSomething) {
  for (Slot slot = 0; slot < 10; ++slot) Dispatch(slot);
  for (int i = 0; i < 10; ++i) {
    Advance(Zygote::kLongestStall - absl::Milliseconds(1));
    EXPECT_TRUE(RunZygoteStep());
    zygote_->Attend(now_, events_);
    Maintain();
  }
  Advance(10 * Zygote::kLongestStall);
  Maintain();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), IsEmpty());
}

// This process was stopped, not the zygote.
TEST_F(ZygoteRecoveryTest, ChecksForProgressBeforeItKillsTheZygote) {
  Dispatch(7);
  EXPECT_TRUE(RunZygoteStep());
  LetStall();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), IsEmpty());
}

TEST_F(ZygoteRecoveryTest, ContinuesAStoppedZygoteIfNoProcessCouldTakeOver) {
  End(kStandbyPid, FakeReaper::Killed(SIGKILL));
  spawner_.PrepareWith(absl::FailedPreconditionError("2 threads"));
  Dispatch(7);
  LetStall();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), ElementsAre(SIGCONT));
  // A server that stops does not need the zygote any more.
  zygote_->Close();
  LetStall();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), ElementsAre(SIGCONT, SIGKILL));
  spawner_.FailWith(absl::FailedPreconditionError("2 threads"));
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  Advance(absl::Seconds(1));
  Maintain();
  EXPECT_THAT(events_.Take(), ElementsAre("failed 7: the zygote has ended"));
}

TEST_F(ZygoteRecoveryTest, KillsProcessesThatDoNotReadThatTheyAreToExit) {
  zygote_->Close();
  Maintain();
  EXPECT_EQ(zygote_->alarm(now_), net::After(now_, Zygote::kLongestStall));
  EXPECT_THAT(reaper_.signals_to(kZygotePid), IsEmpty());
  LetStall();
  EXPECT_THAT(reaper_.signals_to(kZygotePid), ElementsAre(SIGKILL));
  EXPECT_THAT(reaper_.signals_to(kStandbyPid), ElementsAre(SIGKILL));
  EXPECT_EQ(zygote_->alarm(now_), net::Never()) << "once";
}

// Another process may have kept a copy of the old queue.
TEST_F(ZygoteRecoveryTest, GivesEachZygoteAQueueOfItsOwn) {
  const int stolen = dup(zygote_->process().queue_fd());
  Dispatch(7);
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  Dispatch(8);
  const net::HandoffQueue old = net::HandoffQueue::AdoptAwaiting(stolen);
  EXPECT_THAT(old.TryAwait().status(),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("has ended")));
  EXPECT_TRUE(RunZygoteStep());
  EXPECT_TRUE(RunZygoteStep());
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(),
              ElementsAre("serving 7 by 103", "serving 8 by 104"));
}

// The new queue is not affected by what another process has done to the old
// one.
TEST_F(ZygoteRecoveryTest, IsNotStoppedByAQueueThatWasShutDown) {
  Dispatch(7);
  shutdown(zygote_->process().queue_fd(), SHUT_RDWR);
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  events_.Take();
  Dispatch(8);
  Maintain();
  while (!zygote_->queue().Empty()) RunZygoteStep();
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ::testing::Contains(HasSubstr("serving 8")));
}

TEST_F(ZygoteRecoveryTest, KeepsAConnectionForWhichTheQueueHasNoRoom) {
  ShortenQueue();
  Slot slot = 0;
  while (zygote_->HasRoom()) Dispatch(slot++);
  ASSERT_GT(slot, 1u) << "it holds one at least";
  ASSERT_LT(slot, PendingChildren::kMost);
  const Slot deferred = slot - 1;
  EXPECT_THAT(events_.Take(),
              ElementsAre(absl::StrCat("deferred ", deferred,
                                       ": sendmsg: the queue is full")));
  EXPECT_FALSE(zygote_->HasRoom());
  EXPECT_GE(zygote_->fd(now_), 0) << "the doorbell is urgent now";
  RunZygoteStep();
  zygote_->Attend(now_, events_);
  EXPECT_TRUE(zygote_->HasRoom());
  // However long it takes: the zygote is busy.
  Advance(10 * Zygote::kLongestRefusal);
  Dispatch(deferred);
  EXPECT_THAT(events_.Take(), ElementsAre(HasSubstr("serving 0")));
}

TEST_F(ZygoteRecoveryTest, TriesAgainSoonIfNoDoorbellWillRing) {
  ShortenQueue();
  while (zygote_->HasRoom()) Dispatch(1);
  const net::Instant retry = net::After(now_, Zygote::kRetryPeriod);
  EXPECT_LE(zygote_->alarm(net::After(now_, EventBatching::kDelay)), retry);
  now_ = retry;
  Maintain();
  EXPECT_TRUE(zygote_->HasRoom());
}

// The kernel limits the descriptors of a user that are in transit in all
// sockets.
TEST_F(ZygoteRecoveryTest, ForksItselfIfTheQueueTakesNothingForLong) {
  shutdown(zygote_->process().queue_fd(), SHUT_RD);  // EPIPE
  const net::Instant start = now_;
  while (net::TimeUntil(now_, start) < Zygote::kLongestRefusal) {
    Dispatch(7);
    EXPECT_THAT(events_.Take(), ElementsAre(HasSubstr("deferred 7")));
    EXPECT_FALSE(zygote_->HasRoom());
    EXPECT_EQ(spawner_.count(), 2);
    Advance(Zygote::kRetryPeriod);
    Maintain();
  }
  Dispatch(7);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 103"));
  End(kFirstChild, FakeReaper::Exited(0));
  EXPECT_THAT(events_.Take(),
              ElementsAre("ended 7 by 103: exited with code 0"));
}

// The zygote takes the messages one after the other, however long that takes.
TEST_F(ZygoteRecoveryTest, DoesNotForkItselfWhileAFullQueueMovesOn) {
  ShortenQueue();
  Slot slot = 0;
  while (zygote_->HasRoom()) Dispatch(slot++);
  events_.Take();
  Advance(10 * Zygote::kLongestRefusal);
  Dispatch(slot - 1);
  EXPECT_THAT(events_.Take(), ElementsAre(HasSubstr("the queue is full")));
  EXPECT_EQ(spawner_.count(), 2) << "the zygote and the standby";
}

TEST_F(ZygoteRecoveryTest, CountsTheTimeOfARefusalFromTheLastConnectionItTook) {
  ShortenQueue();
  Slot slot = 0;
  while (zygote_->HasRoom()) Dispatch(slot++);
  while (!zygote_->queue().Empty()) RunZygoteStep();
  zygote_->Attend(now_, events_);
  Advance(10 * Zygote::kLongestRefusal);
  Dispatch(slot);
  RunZygoteStep();
  zygote_->Attend(now_, events_);
  events_.Take();
  shutdown(zygote_->process().queue_fd(), SHUT_RD);
  Dispatch(slot);
  EXPECT_THAT(events_.Take(), ElementsAre(HasSubstr("deferred")));
}

TEST_F(ZygoteRecoveryTest, GoesOnTryingInAProcessWithThreads) {
  shutdown(zygote_->process().queue_fd(), SHUT_RD);
  spawner_.PrepareWith(absl::FailedPreconditionError("2 threads"));
  Dispatch(7);
  Advance(10 * Zygote::kLongestRefusal);
  Maintain();
  events_.Take();
  Dispatch(7);
  EXPECT_THAT(events_.Take(), ElementsAre(HasSubstr("deferred 7")));
}

TEST_F(ZygoteRecoveryTest, ForksItselfForConnectionsAfterTheZygoteHasExited) {
  zygote_->Close();
  Maintain();
  Dispatch(7);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 103"));
}

TEST_F(ZygoteRecoveryTest, IsReplacedForAProcessWithOtherRights) {
  EXPECT_THAT(zygote_->IdentityChanged("the user id"), IsOk());
  EXPECT_EQ(reaper_.tag_of(103), ChildTag::Zygote().Pack());
  EXPECT_EQ(reaper_.tag_of(104), ChildTag::Standby().Pack());
  EXPECT_TRUE(zygote_->HasRoom());
  // The old processes exit because their queues end, whatever user they run as.
  EXPECT_THAT(reaper_.signals_to(kZygotePid), IsEmpty());
  End(kZygotePid, FakeReaper::Exited(0));
  End(kStandbyPid, FakeReaper::Exited(0));
  EXPECT_TRUE(zygote_->HasRoom());
  Dispatch(7);
  EXPECT_TRUE(RunZygoteStep());
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 105"));
}

TEST_F(ZygoteRecoveryTest, ServesFirstTheConnectionsOfTheOldZygote) {
  Dispatch(7);
  EXPECT_THAT(zygote_->IdentityChanged("the user id"), IsOk());
  EXPECT_FALSE(zygote_->HasRoom());
  Maintain();
  EXPECT_FALSE(zygote_->HasRoom());
  EXPECT_TRUE(RunZygoteStep());
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 103"));
  Advance(absl::Seconds(1));
  Maintain();
  EXPECT_TRUE(zygote_->HasRoom());
  EXPECT_EQ(reaper_.tag_of(104), ChildTag::Zygote().Pack());
}

TEST_F(ZygoteRecoveryTest, RefusesOtherRightsInAProcessWithThreads) {
  spawner_.PrepareWith(absl::FailedPreconditionError("2 threads"));
  EXPECT_THAT(zygote_->IdentityChanged("the user id"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("the user id"), HasSubstr("2 threads"),
                             HasSubstr("after the change"))));
}

// The standby got its rights when it was created.
TEST_F(ZygoteRecoveryTest, LetsNoStandbyTakeOverThatHasOtherRights) {
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) {
    GTEST_SKIP() << "the test has no rights to give up";
  }
  Dispatch(7);
  EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  EXPECT_EQ(CommandToStandby(), absl::nullopt);
  EXPECT_FALSE(zygote_->HasRoom());
  Maintain();
  EXPECT_TRUE(zygote_->HasRoom());
  EXPECT_EQ(reaper_.tag_of(103), ChildTag::Zygote().Pack());
  EXPECT_TRUE(RunZygoteStep());
  zygote_->Attend(now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 105"));
}

// While no queue can be created for the next zygote, none is created beside a
// standby that has other rights: the standby could take over from it. The right
// that is given up is that to make system calls without a filter.
TEST_F(ZygoteRecoveryTest, CreatesNoZygoteBesideAStandbyThatHasOtherRights) {
  if (prctl(PR_GET_SECCOMP) != 0) GTEST_SKIP() << "there is a filter";
  RefuseCalls({SYS_socketpair}, EMFILE);
  End(kZygotePid, FakeReaper::Killed(SIGKILL));
  for (int i = 0; i < 3; ++i) {
    Maintain();
    EXPECT_FALSE(zygote_->HasRoom());
    EXPECT_EQ(CommandToStandby(), absl::nullopt);
    Advance(absl::Seconds(1));
  }
}

}  // namespace
}  // namespace brood::server
