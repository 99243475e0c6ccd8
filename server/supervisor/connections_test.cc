// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/connections.h"

#include <fcntl.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/proc/spawn.h"
#include "brood/server/child_tag.h"
#include "brood/server/connection_report.h"
#include "brood/server/options.h"
#include "brood/server/slot.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/fake_strategy.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::FakeReaper;
using ::brood::testing::FakeStrategy;
using ::brood::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Events = Strategy::Events;

constexpr pid_t kPid = 4711;

// Connections of a server with two slots, a strategy that gives each connection
// to process kPid + slot, and the reports that the embedder got.
class ConnectionsTest : public ::brood::testing::LeakCheck {
 protected:
  ConnectionsTest() {
    strategy_.on_dispatch = [this](Slot slot, net::Connection, net::Instant now,
                                   Events& events) {
      Serve(slot, now, events);
    };
  }

  // Creates the connections of a server with `options`.
  void Create(Options options) {
    options.max_connections = 2;
    options.log.level = LogLevel::kOff;
    options.on_connection_end = [this](const ConnectionReport& report) {
      EXPECT_FALSE(strategy_.busy()) << "reported from within the strategy";
      reports_.push_back(report);
      if (on_report_) on_report_();
    };
    auto deadlines = Deadlines::Create(options, options.Capacity(), net::Now());
    ASSERT_THAT(deadlines, IsOk());
    connections_ = std::make_unique<Connections>(options, *std::move(deadlines),
                                                 &reaper_, &log_);
  }

  void Serve(Slot slot, net::Instant now, Events& events) {
    const pid_t pid = kPid + static_cast<pid_t>(slot);
    reaper_.Adopt(proc::Child::Adopt(pid), ChildTag::Connection(slot).Pack());
    events.Serving(slot, pid, now);
  }

  // Accepts a connection. Returns when.
  net::Instant Accept() {
    absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
    EXPECT_THAT(pair, IsOk());
    const net::Instant at = pair->connection.accepted_at();
    connections_->Dispatch(std::move(pair->connection), strategy_);
    return at;
  }

  // What the supervisor does when children have ended.
  void Reap(net::Instant now) {
    for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now)) {
      strategy_.ChildEnded(ChildTag::Unpack(ended.tag), ended, now,
                           *connections_);
    }
  }

  // A strategy whose process dies before it takes the connection over.
  void ReturnWhatEnds() {
    strategy_.on_child_ended = [](ChildTag tag,
                                  const proc::Reaper::Ended& ended,
                                  net::Instant /*now*/, Events& events) {
      absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
      events.Returned(tag.index, std::move(pair->connection), ended.pid,
                      ended.status);
    };
  }

  const Totals& totals() const { return connections_->totals(); }

  EventLog log_{LogLevel::kOff};
  FakeReaper reaper_;
  FakeStrategy strategy_;
  std::unique_ptr<Connections> connections_;
  std::vector<ConnectionReport> reports_;
  std::function<void()> on_report_;
};

TEST_F(ConnectionsTest, AcceptsUpToTheCapAndAgainWhenOneHasEnded) {
  Create(Options());
  const net::Instant now = Accept();
  EXPECT_TRUE(connections_->MayAccept(now));
  Accept();
  EXPECT_FALSE(connections_->MayAccept(now));
  EXPECT_EQ(connections_->running(), 2u);
  reaper_.End(kPid, FakeReaper::Exited(0));
  Reap(now);
  EXPECT_TRUE(connections_->MayAccept(now));
  EXPECT_EQ(connections_->running(), 1u);
}

TEST_F(ConnectionsTest, ReportsAnEndOnlyWhenTheSupervisorSaysSo) {
  Create(Options());
  const net::Instant at = Accept();
  reaper_.End(kPid, FakeReaper::Exited(3));
  Reap(net::After(at, absl::Milliseconds(20)));
  EXPECT_THAT(reports_, IsEmpty());
  connections_->SendReports();
  ASSERT_THAT(reports_, SizeIs(1));
  EXPECT_EQ(reports_[0].pid, kPid);
  EXPECT_EQ(reports_[0].status.code(), 3);
  EXPECT_FALSE(reports_[0].signalled_by_us);
  EXPECT_EQ(reports_[0].duration, absl::Milliseconds(20));
  connections_->SendReports();
  EXPECT_THAT(reports_, SizeIs(1)) << "each once";
}

// The embedder's function may take a turn of the server, in which more end.
TEST_F(ConnectionsTest, KeepsReportsThatAreAddedWhileItReports) {
  Create(Options());
  const net::Instant now = Accept();
  Accept();
  reaper_.End(kPid, FakeReaper::Exited(0));
  Reap(now);
  on_report_ = [&] {
    on_report_ = nullptr;
    reaper_.End(kPid + 1, FakeReaper::Exited(1));
    Reap(now);
  };
  connections_->SendReports();
  EXPECT_THAT(reports_, SizeIs(1));
  connections_->SendReports();
  EXPECT_THAT(reports_, SizeIs(2));
}

TEST_F(ConnectionsTest, CountsFromAcceptEvenIfAChildClaimsAnEarlierEnd) {
  Create(Options());
  const net::Instant at = Accept();
  connections_->Ended(0, kPid, FakeReaper::Exited(0),
                      net::After(at, -absl::Hours(1)));
  connections_->SendReports();
  ASSERT_THAT(reports_, SizeIs(1));
  EXPECT_EQ(reports_[0].duration, absl::ZeroDuration());
}

TEST_F(ConnectionsTest, PausesWhenNoProcessCanBeCreated) {
  Create(Options());
  strategy_.on_dispatch = [](Slot slot, net::Connection, net::Instant now,
                             Events& events) {
    events.Failed(slot, absl::ResourceExhaustedError("clone"), now);
  };
  const net::Instant at = Accept();
  EXPECT_EQ(totals().fork_failed, 1u);
  EXPECT_EQ(connections_->running(), 0u);
  EXPECT_FALSE(connections_->MayAccept(at));
  const net::Instant resume = net::After(at, Gate::kShortestPause);
  EXPECT_EQ(connections_->resume_at(at), resume);
  EXPECT_TRUE(connections_->MayAccept(resume));
  connections_->SendReports();
  EXPECT_THAT(reports_, IsEmpty()) << "it had no process";
}

// A dispatch from within the strategy's own call would call it again.
TEST_F(ConnectionsTest, DispatchesWhatCameBackOnlyWhenTheSupervisorSaysSo) {
  Create(Options());
  const net::Instant now = Accept();
  ReturnWhatEnds();
  reaper_.End(kPid, FakeReaper::Killed(SIGSEGV));
  Reap(now);
  EXPECT_EQ(connections_->running(), 1u) << "it still has its slot";
  EXPECT_THAT(strategy_.Take(), ElementsAre("dispatch 0", "ended 4711"));
  connections_->DispatchReturned(now, strategy_);
  EXPECT_THAT(strategy_.Take(), ElementsAre("dispatch 0"));
  connections_->DispatchReturned(now, strategy_);
  EXPECT_THAT(strategy_.Take(), IsEmpty()) << "each once";
  EXPECT_EQ(totals().accepted, 1u);
  EXPECT_TRUE(totals().Balanced());
}

// The client would wait for the end of a child that was forked meanwhile.
TEST_F(ConnectionsTest, KeepsTheDescriptorOfAReturnedConnectionFromChildren) {
  Create(Options());
  Accept();
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  const int fd = pair->connection.fd();
  connections_->Returned(0, std::move(pair->connection), kPid,
                         FakeReaper::Exited(0));
  auto spawner = proc::CloneSpawner::Create(SIGCHLD);
  ASSERT_THAT(spawner, IsOk());
  ASSERT_THAT(spawner->Prepare(), IsOk());
  const auto is_open_in_child = [&] {
    absl::StatusOr<proc::SpawnedChild> child =
        spawner->Spawn([fd] { return fcntl(fd, F_GETFD) >= 0 ? 1 : 0; });
    EXPECT_THAT(child, IsOk());
    int status = -1;
    waitpid(std::move(*child).Release(), &status, __WALL);
    return WEXITSTATUS(status) == 1;
  };
  EXPECT_FALSE(is_open_in_child());
  // The child that it is dispatched to must have it.
  strategy_.on_dispatch = [&](Slot slot, net::Connection connection,
                              net::Instant now, Events& events) {
    EXPECT_EQ(connection.fd(), fd);
    EXPECT_TRUE(is_open_in_child());
    Serve(slot, now, events);
  };
  reaper_.End(kPid, FakeReaper::Exited(0));
  reaper_.CleanupChildren(net::Now());
  connections_->DispatchReturned(net::Now(), strategy_);
}

// What comes back while others are dispatched again waits for the next turn: a
// strategy whose processes always die must not keep the supervisor busy.
TEST_F(ConnectionsTest, DispatchesAReturnedConnectionOnceInATurn) {
  Create(Options());
  int dispatched = 0;
  strategy_.on_dispatch = [&](Slot slot, net::Connection connection,
                              net::Instant /*now*/, Events& events) {
    ++dispatched;
    events.Returned(slot, std::move(connection), kPid, FakeReaper::Exited(0));
  };
  const net::Instant now = Accept();
  EXPECT_EQ(dispatched, 1);
  connections_->DispatchReturned(now, strategy_);
  EXPECT_EQ(dispatched, 2);
}

TEST_F(ConnectionsTest, ClosesWhatCameBackToAServerThatTerminates) {
  Create(Options());
  const net::Instant now = Accept();
  ReturnWhatEnds();
  connections_->SignalChildren(SIGTERM);
  reaper_.End(kPid, FakeReaper::Killed(SIGTERM));
  Reap(now);
  connections_->DispatchReturned(now, strategy_);
  EXPECT_EQ(totals().shed, 1u);
  EXPECT_EQ(connections_->running(), 0u);
  EXPECT_TRUE(totals().Balanced());
}

TEST_F(ConnectionsTest, SignalsAProcessThatBecomesKnownAfterTheOthersWere) {
  Create(Options());
  connections_->SignalChildren(SIGTERM);
  const net::Instant now = Accept();
  EXPECT_THAT(reaper_.signals_to(kPid), ElementsAre(SIGTERM));
  reaper_.End(kPid, FakeReaper::Killed(SIGTERM));
  Reap(now);
  EXPECT_EQ(totals().killed, 1u);
  EXPECT_EQ(totals().killed_for[static_cast<size_t>(KillReason::kStop)], 1u);
}

class ConnectionsWithDeadlineTest : public ConnectionsTest {
 protected:
  ConnectionsWithDeadlineTest() {
    Options options;
    options.deadlines.connection = absl::Seconds(5);
    Create(options);
  }

  static constexpr absl::Duration kLater = absl::Seconds(6);
};

TEST_F(ConnectionsWithDeadlineTest, KillsAndCountsTheReason) {
  const net::Instant at = Accept();
  EXPECT_LT(at, connections_->next_deadline());
  connections_->KillExpired(net::After(at, absl::Seconds(4)));
  EXPECT_THAT(reaper_.signals_to(kPid), IsEmpty());
  const net::Instant late = net::After(at, kLater);
  connections_->KillExpired(late);
  EXPECT_THAT(reaper_.signals_to(kPid), ElementsAre(SIGKILL));
  reaper_.End(kPid, FakeReaper::Killed(SIGKILL));
  Reap(late);
  EXPECT_EQ(totals().killed_for[static_cast<size_t>(KillReason::kConnection)],
            1u);
  EXPECT_EQ(connections_->next_deadline(), net::Never());
}

TEST_F(ConnectionsWithDeadlineTest, KillsNoProcessThatDoesNotExistYet) {
  strategy_.on_dispatch = nullptr;  // a zygote takes its time
  const net::Instant late = net::After(Accept(), kLater);
  connections_->KillExpired(late);
  EXPECT_THAT(reaper_.pids(), IsEmpty());
  EXPECT_EQ(connections_->running(), 1u);
  Serve(0, late, *connections_);
  connections_->KillExpired(net::After(late, absl::Seconds(1)));
  EXPECT_THAT(reaper_.signals_to(kPid), ElementsAre(SIGKILL));
}

// Its process was killed for it, and another one has no time left.
TEST_F(ConnectionsWithDeadlineTest, RecordsAnExpiredConnectionThatCameBack) {
  const net::Instant late = net::After(Accept(), kLater);
  ReturnWhatEnds();
  connections_->KillExpired(late);
  // It exited by itself before the signal arrived.
  reaper_.End(kPid, FakeReaper::Exited(0));
  Reap(late);
  strategy_.Take();
  connections_->DispatchReturned(late, strategy_);
  EXPECT_THAT(strategy_.Take(), IsEmpty());
  EXPECT_EQ(totals().killed_for[static_cast<size_t>(KillReason::kConnection)],
            1u);
  EXPECT_EQ(totals().ended_ok, 0u);
  EXPECT_TRUE(totals().Balanced());
  connections_->SendReports();
  ASSERT_THAT(reports_, SizeIs(1));
  EXPECT_TRUE(reports_[0].signalled_by_us);
  EXPECT_EQ(connections_->next_deadline(), net::Never());
}

}  // namespace
}  // namespace brood::server
