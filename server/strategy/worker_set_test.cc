// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/worker_set.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/server/log/event_log.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::brood::testing::StrategyFixture;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = ChildTag::Kind;

constexpr size_t kSize = 4;

// A set of four workers, which are not processes. The test plays them: it
// acknowledges the messages in their queues, whose descriptors it has because
// it is the same process.
class WorkerSetTest : public StrategyFixture {
 protected:
  // Forks until `idle` workers are idle and all have reported that they are
  // ready. The back-off lets one worker start at first, then two, four, eight.
  void ForkReady(size_t idle) {
    for (int turn = 0; turn < 10 && set_.idle() < idle; ++turn) {
      set_.ForkUpTo(idle, now_);
      MakeReady();
    }
    set_.ForkUpTo(idle, now_);
    ASSERT_EQ(set_.idle(), idle);
  }

  // Takes the first message out of the queue of every worker that exists.
  void MakeReady() {
    for (const int fd : spawner_.kept_fds()) {
      net::HandoffQueue::AdoptAwaiting(dup(fd)).Acknowledge();
    }
  }

  // Returns the message that waits for worker `index`: a connection or a
  // command.
  net::HandoffQueue::Message MessageTo(size_t index) {
    net::HandoffQueue queue =
        net::HandoffQueue::AdoptAwaiting(dup(spawner_.kept_fds().at(index)));
    absl::StatusOr<absl::optional<net::HandoffQueue::Message>> message =
        queue.TryAwait();
    EXPECT_THAT(message, IsOk());
    EXPECT_TRUE(message->has_value());
    return std::move(**message);
  }

  // Makes worker `index` take over its connection.
  void TakeOver(size_t index) {
    net::HandoffQueue::AdoptAwaiting(dup(spawner_.kept_fds().at(index)))
        .Acknowledge();
  }

  // Ends process `pid`, and reports its end to the set.
  void End(pid_t pid, const proc::ExitStatus& status) {
    reaper_.End(pid, status);
    for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now_)) {
      const ChildTag tag = ChildTag::Unpack(ended.tag);
      ASSERT_EQ(tag.kind, Kind::kWorker);
      set_.Ended(tag.index, ended, now_, events_);
    }
  }

  WorkerSet set_{kSize, environment(),
                 [](WorkerSet::Index, net::HandoffQueue&) { return 0; }};
};

TEST_F(WorkerSetTest, DoublesWhatItForksAtOnceAsWorkersBecomeReady) {
  set_.ForkUpTo(kSize, now_);
  EXPECT_EQ(spawner_.count(), 1) << "the first shows whether workers can start";
  set_.ForkUpTo(kSize, now_);
  EXPECT_EQ(spawner_.count(), 1) << "it is not ready yet";
  EXPECT_GT(set_.next_fork(), now_);
  MakeReady();
  set_.ForkUpTo(kSize, now_);
  EXPECT_EQ(spawner_.count(), 3);
  EXPECT_EQ(set_.idle(), 3u);
}

TEST_F(WorkerSetTest, ForksNoMoreThanItHasPlacesFor) {
  ForkReady(kSize);
  set_.ForkUpTo(kSize + 1, now_);
  EXPECT_EQ(spawner_.count(), static_cast<int>(kSize));
}

TEST_F(WorkerSetTest, BacksOffWhenNoProcessCanBeCreated) {
  spawner_.FailWith(absl::ResourceExhaustedError("clone"));
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(set_.next_fork(), net::After(now_, SpawnBackoff::kShortestPause));
  spawner_.FailWith(absl::OkStatus());
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(spawner_.count(), 0) << "not before the pause is over";
  now_ = set_.next_fork();
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(set_.idle(), 1u);
}

// The queue must not keep a command for a worker that could not be created: the
// next worker would read it.
TEST_F(WorkerSetTest, CountsAWorkerAsReadyAlthoughAForkFailedBefore) {
  spawner_.FailWith(absl::ResourceExhaustedError("clone"));
  set_.ForkUpTo(1, now_);
  spawner_.FailWith(absl::OkStatus());
  now_ = set_.next_fork();
  set_.ForkUpTo(kSize, now_);
  ASSERT_EQ(spawner_.count(), 1);
  MakeReady();
  set_.ForkUpTo(kSize, now_);
  EXPECT_GT(spawner_.count(), 1) << "the first one is ready";
}

// TightLimit leaves room for `more` descriptors beyond those that are open now,
// while an object lives.
class TightLimit {
 public:
  explicit TightLimit(int more) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int lowest = dup(STDERR_FILENO);
    close(lowest);
    const rlimit tight = {static_cast<rlim_t>(lowest + more), before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  }
  TightLimit(const TightLimit&) = delete;
  TightLimit& operator=(const TightLimit&) = delete;
  ~TightLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_;
};

constexpr int kReserved = static_cast<int>(WorkerSet::kReserved);

TEST_F(WorkerSetTest, LeavesDescriptorsForTheRestOfTheServer) {
  for (const auto& [more, forked] :
       {std::pair{0, 0}, {1, 0}, {kReserved + 1, 0}, {kReserved + 2, 1}}) {
    WorkerSet set(kSize, environment(),
                  [](WorkerSet::Index, net::HandoffQueue&) { return 0; });
    const TightLimit tight(more);
    const int before = spawner_.count();
    set.ForkUpTo(kSize, now_);
    EXPECT_EQ(spawner_.count() - before, forked) << more;
  }
}

// The lowest free number is no measure: higher numbers may be in use.
TEST_F(WorkerSetTest, CountsDescriptorsThatAreFreeAndNotTheirNumbers) {
  std::vector<net::UniqueFd> above;
  const int lowest = dup(STDERR_FILENO);
  for (int i = 0; i < 10; ++i) {
    above.push_back(
        net::UniqueFd::Adopt(fcntl(lowest, F_DUPFD_CLOEXEC, lowest + 2 + i)));
  }
  close(lowest);
  const TightLimit tight(kReserved + 11);
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(spawner_.count(), 0);
  above.pop_back();
  now_ = set_.next_fork();
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(spawner_.count(), 1);
}

TEST_F(WorkerSetTest, BacksOffAsIfForkHadFailedAndLogsItOnce) {
  int events = 0;
  EventLog log({LogLevel::kInfo, LogFormat::kText, TimeStamp::kNone, "brood",
                [&](const LogRecord& record) {
                  events += record.name == "prefork-failed" ? 1 : 0;
                }});
  StrategyEnvironment with_log = environment();
  with_log.log = &log;
  WorkerSet set(kSize, with_log,
                [](WorkerSet::Index, net::HandoffQueue&) { return 0; });
  absl::optional<TightLimit> tight;
  tight.emplace(kReserved);
  for (int i = 0; i < 5; ++i) {
    set.ForkUpTo(1, now_);
    EXPECT_GE(set.next_fork(), net::After(now_, SpawnBackoff::kShortestPause));
    now_ = set.next_fork();
  }
  EXPECT_EQ(events, 1);
  tight.reset();
  set.ForkUpTo(1, now_);
  EXPECT_EQ(set.idle(), 1u) << "it ends by itself";
  tight.emplace(kReserved);
  for (int i = 0; i < 5; ++i) {
    MakeReady();
    now_ = std::max(net::After(now_, absl::Seconds(2)), set.next_fork());
    set.ForkUpTo(2, now_);
  }
  EXPECT_EQ(events, 2);
}

TEST_F(WorkerSetTest, ClosesTheQueueOfAnIdleWorkerForAccept) {
  ForkReady(2);
  const int lowest = dup(STDERR_FILENO);
  close(lowest);
  set_.FreeDescriptors();
  EXPECT_EQ(set_.idle(), 1u);
  EXPECT_FALSE(MessageTo(0).connection) << "the oldest is told to leave";
  MakeReady();
  End(101, FakeReaper::Exited(0));
  const int freed = dup(STDERR_FILENO);
  close(freed);
  EXPECT_LT(freed, lowest);
  ForkReady(2);
  EXPECT_EQ(spawner_.count(), 3) << "the place can be used again";
}

TEST_F(WorkerSetTest, ClosesAQueueThatNoWorkerUsesAtOnce) {
  ForkReady(1);
  set_.Assign(7, Connect(), now_, events_);
  TakeOver(0);
  set_.ReleaseServing();
  events_.Take();
  const int lowest = dup(STDERR_FILENO);
  close(lowest);
  set_.FreeDescriptors();
  const int freed = dup(STDERR_FILENO);
  close(freed);
  EXPECT_LT(freed, lowest);
  set_.FreeDescriptors();  // nothing is left
  EXPECT_THAT(events_.Take(), IsEmpty());
}

TEST_F(WorkerSetTest, ReusesOnlyAQueueThatNoHandlerHasHeld) {
  ForkReady(1);
  const int queue = spawner_.kept_fds().back();
  set_.Assign(7, Connect(), now_, events_);
  TakeOver(0);
  set_.ReleaseServing();
  ForkReady(1);
  EXPECT_EQ(spawner_.kept_fds().back(), queue);
  net::UniqueFd held = net::UniqueFd::Adopt(dup(queue));
  fcntl(held.fd(), F_SETFL, O_NONBLOCK);
  End(102, FakeReaper::Exited(0));
  now_ = net::After(now_, absl::Seconds(2));
  ForkReady(1);
  EXPECT_EQ(fcntl(spawner_.kept_fds().back(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(WorkerSetTest, ForksAtOnceWhenAWorkerHasEndedThatLivedForASecond) {
  set_.ForkUpTo(kSize, now_);
  MakeReady();
  now_ = net::After(now_, WorkerSet::kProof);
  EXPECT_GT(set_.next_fork(), net::Instant::min());
  End(101, FakeReaper::Exited(0));
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(spawner_.count(), 2);
}

TEST_F(WorkerSetTest, ForksAtOnceWhenAWorkerHasEndedThatHadAConnection) {
  ForkReady(1);
  set_.Assign(7, Connect(), now_, events_);
  TakeOver(0);
  End(101, FakeReaper::Killed(SIGSEGV));
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(spawner_.count(), 2);
}

// F7: a worker that is ready may still die. Counts the forks of ten seconds in
// a set whose workers die as soon as they are ready.
TEST_F(WorkerSetTest, BacksOffWhenWorkersDieRightAfterTheyAreReady) {
  int logged = 0;
  EventLog log({LogLevel::kInfo, LogFormat::kText, TimeStamp::kNone, "brood",
                [&](const LogRecord& record) {
                  logged += record.name == "worker-died-at-start" ? 1 : 0;
                }});
  StrategyEnvironment with_log = environment();
  with_log.log = &log;
  WorkerSet set(kSize, with_log,
                [](WorkerSet::Index, net::HandoffQueue&) { return 0; });
  const net::Instant end = net::After(now_, absl::Seconds(10));
  while (now_ < end) {
    set.ForkUpTo(kSize, now_);
    MakeReady();
    set.ForkUpTo(kSize, now_);
    for (const pid_t pid : reaper_.pids()) {
      reaper_.End(pid, FakeReaper::Exited(0));
    }
    for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now_)) {
      set.Ended(ChildTag::Unpack(ended.tag).index, ended, now_, events_);
    }
    now_ = net::After(now_, absl::Milliseconds(1));
  }
  EXPECT_LE(spawner_.count(), 30);
  EXPECT_EQ(logged, spawner_.count());
}

TEST_F(WorkerSetTest, BacksOffWhenAWorkerDiesBeforeItIsReady) {
  set_.ForkUpTo(1, now_);
  End(101, FakeReaper::Exited(111));
  EXPECT_EQ(set_.idle(), 0u);
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(spawner_.count(), 1);
  now_ = net::After(now_, SpawnBackoff::kShortestPause);
  set_.ForkUpTo(1, now_);
  EXPECT_EQ(spawner_.count(), 2);
}

TEST_F(WorkerSetTest, GivesAConnectionToTheWorkerThatBecameIdleLast) {
  ForkReady(2);
  EXPECT_TRUE(set_.Assign(7, Connect(), now_, events_));
  EXPECT_THAT(events_.Take(), ElementsAre("assigned 7 to 102"));
  EXPECT_EQ(events_.last_time(), now_);
  EXPECT_EQ(MessageTo(1).ticket.slot, 7u);
  EXPECT_EQ(set_.idle(), 1u);
}

TEST_F(WorkerSetTest, GivesNoConnectionWhenNoWorkerIsIdle) {
  EXPECT_FALSE(set_.Assign(7, Connect(), now_, events_));
  ForkReady(1);
  EXPECT_TRUE(set_.Assign(7, Connect(), now_, events_));
  EXPECT_FALSE(set_.Assign(8, Connect(), now_, events_));
  EXPECT_THAT(events_.Take(), ElementsAre("assigned 7 to 101"));
}

TEST_F(WorkerSetTest, ReturnsAConnectionThatADeadWorkerDidNotTakeOver) {
  ForkReady(1);
  set_.Assign(7, Connect(), now_, events_);
  events_.Take();
  End(101, FakeReaper::Killed(SIGKILL));
  EXPECT_THAT(events_.Take(),
              ElementsAre("returned 7 by 101: killed by SIGKILL (Killed)"));
  EXPECT_THAT(events_.returned(), SizeIs(1));
}

TEST_F(WorkerSetTest, ReportsTheEndOfAWorkerThatTookItsConnectionOver) {
  ForkReady(1);
  set_.Assign(7, Connect(), now_, events_);
  TakeOver(0);
  events_.Take();
  End(101, FakeReaper::Exited(3));
  EXPECT_THAT(events_.Take(),
              ElementsAre("ended 7 by 101: exited with code 3"));
  EXPECT_THAT(events_.returned(), IsEmpty());
}

TEST_F(WorkerSetTest, ReportsNothingForAWorkerThatDiesIdle) {
  ForkReady(2);
  End(101, FakeReaper::Killed(SIGSEGV));
  EXPECT_THAT(events_.Take(), IsEmpty());
  EXPECT_EQ(set_.idle(), 1u);
  EXPECT_TRUE(set_.Assign(7, Connect(), now_, events_));
  EXPECT_THAT(events_.Take(), ElementsAre("assigned 7 to 102"));
}

TEST_F(WorkerSetTest, ReleasesOnlyWorkersThatTookTheirConnectionsOver) {
  ForkReady(2);
  set_.Assign(7, Connect(), now_, events_);
  set_.Assign(8, Connect(), now_, events_);
  TakeOver(1);
  set_.ReleaseServing();
  EXPECT_EQ(reaper_.tag_of(102), ChildTag::Connection(7).Pack());
  EXPECT_EQ(reaper_.tag_of(101), ChildTag::Worker(0).Pack());
  // The place of the worker that was released is free again.
  ForkReady(3);
}

TEST_F(WorkerSetTest, TellsTheWorkersThatWereIdleLongestToLeave) {
  ForkReady(3);
  set_.DismissIdle(1);
  EXPECT_EQ(set_.idle(), 1u);
  EXPECT_FALSE(MessageTo(0).connection);
  EXPECT_FALSE(MessageTo(1).connection);
  EXPECT_TRUE(set_.Assign(7, Connect(), now_, events_));
  EXPECT_THAT(events_.Take(), ElementsAre("assigned 7 to 103"));
}

}  // namespace
}  // namespace brood::server
