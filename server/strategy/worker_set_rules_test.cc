// SPDX-License-Identifier: Apache-2.0

// Tests how a WorkerSet treats workers that break its rules, as a worker does
// that its client has compromised.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/server/strategy/worker_set.h"
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

constexpr int kShare = 3;

// A set of two workers that report. They are not processes: the test plays
// them, with copies of their ends of the queues.
class WorkerSetRulesTest : public StrategyFixture {
 protected:
  WorkerSetRulesTest()
      : reports_(*WorkerReports::Create()),
        set_(2, environment(),
             [](WorkerSet::Index, net::HandoffQueue&) { return 0; },
             {&reports_, absl::nullopt, kShare}) {
    ForkBoth();
  }

  // Forks until each worker that does not serve is idle. Keeps their ends of
  // the queues.
  void ForkBoth() {
    for (int turn = 0; turn < 10 && set_.idle() < 2; ++turn) {
      const int before = spawner_.count();
      set_.ForkUpTo(2, now_);
      if (spawner_.count() == before) now_ = set_.next_fork();
      for (int i = before; i < spawner_.count(); ++i) {
        ends_.push_back(net::UniqueFd::Adopt(dup(spawner_.kept_fds().at(i))));
        EXPECT_TRUE(Acknowledge(ends_.size() - 1));
      }
    }
  }

  // Returns the end of the queue of worker `n`: the `n`th that was forked, from
  // 0, with the pid 101 + n.
  int end_of(size_t n) const { return ends_.at(n).fd(); }
  bool Acknowledge(size_t n) const {
    return net::HandoffQueue::AdoptAwaiting(dup(end_of(n))).Acknowledge();
  }
  // Sends the report that worker `n` has finished the connection `serial`.
  void Report(size_t n, uint32_t serial, bool leaves = false) const {
    EXPECT_TRUE(ReportSender(end_of(n)).Send(
        {WorkerReport::kMark, serial, 0, leaves ? 1u : 0u,
         now_.time_since_epoch().count(), rusage()}));
  }
  // Gives a connection to the set, and makes worker `n` take it over.
  void Give(Slot slot, size_t n) {
    EXPECT_TRUE(set_.Assign(slot, Connect(), now_, events_));
    EXPECT_THAT(events_.Take(),
                ElementsAre(absl::StrCat("assigned ", slot, " to ", 101 + n)));
    EXPECT_TRUE(Acknowledge(n));
  }
  // Reads every channel that is ready, as Pool does. Returns the slots of the
  // finished connections.
  std::vector<Slot> Take() {
    WorkerReports::Ready ready;
    std::vector<Slot> slots;
    const int count = reports_.Find(&ready);
    for (int i = 0; i < count; ++i) {
      const auto finished = set_.TakeReport(ready[i], now_);
      if (finished) slots.push_back(finished->slot);
    }
    return slots;
  }
  void End(pid_t pid, const proc::ExitStatus& status) {
    reaper_.End(pid, status);
    for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now_)) {
      set_.Ended(ChildTag::Unpack(ended.tag).index, ended, now_, events_);
    }
  }
  std::vector<int> SignalsTo(pid_t pid) const {
    return reaper_.signals_to(pid);
  }
  // Returns whether no channel is readable, so that the parent is not busy.
  bool IsQuiet() {
    WorkerReports::Ready ready;
    return reports_.Find(&ready) == 0;
  }

  WorkerReports reports_;
  WorkerSet set_;
  std::vector<net::UniqueFd> ends_;
};

TEST_F(WorkerSetRulesTest, UsesAWorkerAgainThatReports) {
  Give(7, 1);
  Report(1, 1);
  EXPECT_THAT(Take(), ElementsAre(7));
  Give(8, 1);
  EXPECT_THAT(SignalsTo(102), IsEmpty());
}

// F18: each report is read before the end of its worker is recorded, however
// many reports there are.
TEST_F(WorkerSetRulesTest, ReadsTheReportOfAWorkerThatHasEnded) {
  Give(7, 1);
  Report(1, 1, /*leaves=*/true);
  const auto finished = set_.TakeReport(1, now_);
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->slot, 7u);
  End(102, FakeReaper::Exited(0));
  EXPECT_THAT(events_.Take(), IsEmpty()) << "it was accounted for";
}

// Attack is something that a worker may send instead of its report, or do to
// its channel.
struct Attack {
  const char* name;
  void (*make)(int end);
};

class ChannelAttackTest : public WorkerSetRulesTest,
                          public ::testing::WithParamInterface<Attack> {};

void SendReport(int end, const WorkerReport& report) {
  send(end, &report, sizeof(report), MSG_NOSIGNAL);
}

TEST_P(ChannelAttackTest, IsTheEndOfThatWorkerAloneWhileItServes) {
  Give(7, 1);
  GetParam().make(end_of(1));
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_THAT(SignalsTo(102), ElementsAre(SIGKILL));
  EXPECT_THAT(SignalsTo(101), IsEmpty());
  EXPECT_TRUE(IsQuiet());
  EXPECT_THAT(events_.Take(), IsEmpty()) << "its slot is taken until it ends";
  End(102, FakeReaper::Killed(SIGKILL));
  EXPECT_THAT(events_.Take(),
              ElementsAre("ended 7 by 102: killed by SIGKILL (Killed)"));
  Give(8, 0);
}

TEST_P(ChannelAttackTest, IsTheEndOfThatWorkerAloneWhileItIsIdle) {
  GetParam().make(end_of(1));
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_THAT(SignalsTo(102), ElementsAre(SIGKILL));
  EXPECT_EQ(set_.idle(), 1u);
  EXPECT_TRUE(IsQuiet());
  Give(8, 0);
  End(102, FakeReaper::Killed(SIGKILL));
  EXPECT_THAT(events_.Take(), IsEmpty());
}

// The next worker in its place has another queue, so nothing of the attack is
// left.
TEST_P(ChannelAttackTest, DoesNothingToTheNextWorkerInItsPlace) {
  Give(7, 1);
  GetParam().make(end_of(1));
  Take();
  End(102, FakeReaper::Killed(SIGKILL));
  events_.Take();
  ForkBoth();
  GetParam().make(end_of(1));  // a grandchild may still have that end
  EXPECT_TRUE(IsQuiet());
  Give(8, 2);
  Report(2, 2);
  EXPECT_THAT(Take(), ElementsAre(8));
}

INSTANTIATE_TEST_SUITE_P(
    By, ChannelAttackTest,
    ::testing::Values(
        Attack{"ShuttingDownWriting", [](int end) { shutdown(end, SHUT_WR); }},
        Attack{"ShuttingDownBoth", [](int end) { shutdown(end, SHUT_RDWR); }},
        Attack{"AnEmptyMessage", [](int end) { send(end, "", 0, 0); }},
        Attack{"Garbage", [](int end) { send(end, "garbage", 7, 0); }},
        Attack{"AFlood",
               [](int end) {
                 while (send(end, "flood", 5, MSG_DONTWAIT) > 0) {
                 }
               }},
        Attack{"AReportOfNoConnection",
               [](int end) {
                 SendReport(end, {WorkerReport::kMark, 0, 0, 0, 0, rusage()});
               }},
        Attack{"AReportOfAnotherConnection",
               [](int end) {
                 SendReport(end, {WorkerReport::kMark, 99, 0, 0, 0, rusage()});
               }}),
    [](const auto& info) { return info.param.name; });

// A4: the parent notices it only when it gives a connection to the worker.
TEST_F(WorkerSetRulesTest, GivesAConnectionToTheNextWorkerIfAQueueIsShut) {
  Give(7, 1);
  shutdown(end_of(1), SHUT_RD);
  Report(1, 1);
  EXPECT_THAT(Take(), ElementsAre(7));
  EXPECT_TRUE(set_.Assign(8, Connect(), now_, events_));
  EXPECT_THAT(events_.Take(), ElementsAre("assigned 8 to 101"));
  EXPECT_THAT(SignalsTo(102), ElementsAre(SIGKILL));
  EXPECT_FALSE(set_.Assign(9, Connect(), now_, events_)) << "none is idle";
  End(102, FakeReaper::Killed(SIGKILL));
  ForkBoth();
}

TEST_F(WorkerSetRulesTest, RejectsAReportAboutAConnectionThatIsInTheQueue) {
  EXPECT_TRUE(set_.Assign(7, Connect(), now_, events_));
  Report(1, 1);
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_THAT(SignalsTo(102), ElementsAre(SIGKILL));
  events_.Take();
  End(102, FakeReaper::Killed(SIGKILL));
  EXPECT_THAT(events_.Take(),
              ElementsAre("returned 7 by 102: killed by SIGKILL (Killed)"));
}

// A2: SO_PEEK_OFF makes the kernel look for the connection beyond the end of
// the message.
TEST_F(WorkerSetRulesTest,
       TakesAConnectionBackThoughTheWorkerMovedThePeekOffset) {
  const int beyond = 1 << 20;
  ASSERT_EQ(
      setsockopt(end_of(1), SOL_SOCKET, SO_PEEK_OFF, &beyond, sizeof(beyond)),
      0);
  EXPECT_TRUE(set_.Assign(7, Connect(), now_, events_));
  events_.Take();
  End(102, FakeReaper::Exited(0));
  EXPECT_THAT(events_.Take(),
              ElementsAre("returned 7 by 102: exited with code 0"));
}

// A2, A3: whatever the last worker has done to its queue.
TEST_F(WorkerSetRulesTest, HasAFreshQueueForEachWorker) {
  const int beyond = 1 << 20;
  setsockopt(end_of(1), SOL_SOCKET, SO_PEEK_OFF, &beyond, sizeof(beyond));
  fcntl(end_of(1), F_SETFL, O_NONBLOCK);
  Give(7, 1);
  End(102, FakeReaper::Exited(0));
  events_.Take();
  ForkBoth();
  EXPECT_EQ(fcntl(end_of(2), F_GETFL) & O_NONBLOCK, 0);
  int offset = 0;
  socklen_t size = sizeof(offset);
  ASSERT_EQ(getsockopt(end_of(2), SOL_SOCKET, SO_PEEK_OFF, &offset, &size), 0);
  EXPECT_EQ(offset, -1);
}

// A13: a worker that reports at once that it has finished would get every next
// connection.
TEST_F(WorkerSetRulesTest, GivesNoWorkerMoreThanItsShare) {
  for (uint32_t serial = 1; serial <= kShare; ++serial) {
    Give(serial, 1);
    Report(1, serial);
    EXPECT_THAT(Take(), ElementsAre(serial));
  }
  Give(9, 0);
  EXPECT_EQ(set_.idle(), 0u);
  set_.EndOverdue(now_);
  EXPECT_THAT(SignalsTo(102), IsEmpty()) << "it was told to leave";
  now_ = net::After(now_, WorkerSet::kLeaveTime);
  set_.EndOverdue(now_);
  EXPECT_THAT(SignalsTo(102), ElementsAre(SIGKILL));
}

TEST_F(WorkerSetRulesTest, KillsAWorkerThatReportsThatItLeavesAndStays) {
  Give(7, 1);
  Report(1, 1, /*leaves=*/true);
  EXPECT_THAT(Take(), ElementsAre(7));
  set_.EndOverdue(now_);
  now_ = net::After(now_, WorkerSet::kLeaveTime);
  set_.EndOverdue(now_);
  EXPECT_THAT(SignalsTo(102), ElementsAre(SIGKILL));
}

// A13: a connection that the worker has reported as finished may still be open.
TEST_F(WorkerSetRulesTest, EndsAWorkerThatMayHoldAConnectionAtItsDeadline) {
  const net::Instant first = net::After(now_, absl::Seconds(2));
  for (uint32_t serial = 1; serial <= 2; ++serial) {
    Give(serial, 1);
    Report(1, serial);
    EXPECT_THAT(Take(), ElementsAre(serial));
    set_.Bound(1, net::After(first, absl::Seconds(serial - 1)));
  }
  EXPECT_EQ(set_.idle(), 2u);
  EXPECT_EQ(set_.next_end(), first);
  set_.EndOverdue(first);
  EXPECT_EQ(set_.idle(), 1u);
  EXPECT_THAT(SignalsTo(102), ElementsAre(SIGKILL));
}

// The connection that it serves is another one, whose deadline has not passed.
TEST_F(WorkerSetRulesTest,
       LetsAWorkerFinishAConnectionThatItServesAtTheDeadline) {
  const net::Instant first = net::After(now_, absl::Seconds(2));
  Give(7, 1);
  Report(1, 1);
  EXPECT_THAT(Take(), ElementsAre(7));
  set_.Bound(1, first);
  Give(8, 1);
  now_ = net::After(first, absl::Seconds(1));
  set_.EndOverdue(now_);
  EXPECT_THAT(SignalsTo(102), IsEmpty());
  EXPECT_EQ(set_.next_end(), net::Never()) << "no turn is taken for it";
  Report(1, 2);
  EXPECT_THAT(Take(), ElementsAre(8));
  EXPECT_EQ(set_.idle(), 1u);
  set_.EndOverdue(now_);
  EXPECT_THAT(SignalsTo(102), ElementsAre(SIGKILL));
}

// F22: each worker shuts its queue at once, before any connection.
TEST_F(WorkerSetRulesTest, BacksOffIfEachWorkerBreaksARuleAtOnce) {
  const int before = spawner_.count();
  const net::Instant end = net::After(now_, absl::Seconds(10));
  while (now_ < end) {
    set_.ForkUpTo(2, now_);
    for (const int fd : spawner_.kept_fds()) shutdown(fd, SHUT_RDWR);
    Take();
    for (const pid_t pid : reaper_.pids()) {
      if (!SignalsTo(pid).empty()) End(pid, FakeReaper::Killed(SIGKILL));
    }
    now_ = net::After(now_, absl::Milliseconds(1));
  }
  EXPECT_LE(spawner_.count() - before, 20);
}

TEST_F(WorkerSetRulesTest, GivesNoConnectionToAnEarlierGeneration) {
  Give(7, 1);
  set_.BeginGeneration();
  EXPECT_EQ(set_.idle(), 0u) << "the idle one leaves";
  Report(1, 1);
  EXPECT_THAT(Take(), ElementsAre(7));
  EXPECT_EQ(set_.idle(), 0u) << "the busy one leaves when it has finished";
}

// The worker has not read its command: it is stopped, or hangs in its
// preparation.
TEST_F(WorkerSetRulesTest, KillsAWorkerThatDoesNotLeaveAndOnlyOnceASecond) {
  set_.DismissIdle(1);
  EXPECT_LE(set_.next_end(), now_) << "its time begins with the next turn";
  set_.EndOverdue(now_);
  for (size_t seconds = 1; seconds <= 3; ++seconds) {
    EXPECT_EQ(set_.next_end(), net::After(now_, WorkerSet::kLeaveTime));
    EXPECT_EQ(SignalsTo(101).size(), seconds - 1);
    now_ = set_.next_end();
    set_.EndOverdue(now_);
  }
  EXPECT_THAT(SignalsTo(101), ElementsAre(SIGKILL, SIGKILL, SIGKILL));
  End(101, FakeReaper::Killed(SIGKILL));
  set_.EndOverdue(set_.next_end());
  EXPECT_EQ(set_.next_end(), net::Never());
}

TEST_F(WorkerSetRulesTest, ChecksLessAndLessOftenWhetherWorkersAreReady) {
  WorkerSet set(4, environment(),
                [](WorkerSet::Index, net::HandoffQueue&) { return 0; });
  const int before = spawner_.count();
  const net::Instant end = net::After(now_, absl::Seconds(1));
  int looks = 0;
  for (; now_ < end; ++looks) {
    set.ForkUpTo(4, now_);
    now_ = set.next_fork();
  }
  EXPECT_EQ(looks, 20) << "one each 64 ms, after 2, 4, 8, 16 and 32 ms";
  const int queue = dup(spawner_.kept_fds().back());
  net::HandoffQueue::AdoptAwaiting(queue).Acknowledge();
  set.ForkUpTo(4, now_);
  EXPECT_GT(spawner_.count(), before + 1);
  EXPECT_LE(set.next_fork(), net::After(now_, absl::Milliseconds(2)));
}

}  // namespace
}  // namespace brood::server
