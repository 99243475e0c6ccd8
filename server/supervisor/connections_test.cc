// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/connections.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstddef>
#include <stdexcept>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/spawn.h"
#include "brood/server/options.h"
#include "brood/server/supervisor/connections_fixture.h"
#include "brood/server/vocabulary/slot.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/fakes/captured_log.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Events = Strategy::Events;
using ConnectionsTest = ConnectionsFixture;

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

TEST_F(ConnectionsTest, ReportsAnEndOnlyInSendReports) {
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

// F12: the memory for reports was allocated before the first connection.
TEST_F(ConnectionsTest, ReportsAnEndAlthoughNoMemoryCanBeMapped) {
  Create(Options());
  const net::Instant at = Accept();
  reaper_.End(kPid, FakeReaper::Exited(3));
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &none), 0);
  Reap(at);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  connections_->SendReports();
  EXPECT_THAT(reports_, SizeIs(1));
}

TEST_F(ConnectionsTest, ReportsTheDataOfAConnection) {
  Create(Options());
  const absl::Time before = absl::Now() - absl::Milliseconds(1);
  const net::Instant at = Accept();
  Accept();
  connections_->SignalChildren(SIGTERM);
  reaper_.End(kPid, FakeReaper::Exited(0));
  reaper_.End(kPid + 1, FakeReaper::Killed(SIGTERM));
  Reap(at);
  connections_->SendReports();
  ASSERT_THAT(reports_, SizeIs(2));
  for (const ConnectionReport& report : reports_) {
    EXPECT_GE(report.started, before);
    EXPECT_LE(report.started, absl::Now());
    EXPECT_FALSE(report.local.is_unix());
    EXPECT_NE(report.local.port(), 0);
    EXPECT_NE(report.local, report.peer);
    EXPECT_EQ(report.kill_reason, KillReason::kStop);
  }
  EXPECT_EQ(reports_[0].number, 1u);
  EXPECT_EQ(reports_[1].number, 2u);
}

TEST_F(ConnectionsTest, LogsWhetherAProcessWasCreatedForAConnection) {
  ::brood::testing::CapturedLog captured;
  Create(Options(), &captured.log());
  Accept();
  strategy_.on_dispatch = [](Slot slot, net::Connection, net::Instant now,
                             Events& events) {
    events.Assigned(slot, kPid + 1, now, slot);
  };
  Accept();
  EXPECT_THAT(captured.End(), ElementsAre("forked", "assigned"));
}

// Runs in a child, which creates what it has no copy of.
TEST_F(ConnectionsTest, EndsTheProgramIfTheEmbeddersFunctionThrows) {
  EXPECT_DEATH(
      {
        Create(Options());
        const net::Instant at = Accept();
        reaper_.End(kPid, FakeReaper::Exited(0));
        Reap(at);
        on_report_ = [] { throw std::runtime_error("no\nspace"); };
        connections_->SendReports();
      },
      "brood: Options::on_connection_end threw an exception: no.x0aspace");
}

// The function of the embedder may take a turn of the server, in which more
// connections end.
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

// A strategy that can create no process refuses each connection.
class ConnectionsRefusedTest : public ConnectionsTest {
 protected:
  ConnectionsRefusedTest() {
    Options options;
    options.deadlines.connection = absl::Milliseconds(500);
    max_connections_ = 100;
    Create(options);
    serve_ = strategy_.on_dispatch;
    strategy_.on_dispatch = [this](Slot slot, net::Connection connection,
                                   net::Instant now, Events& events) {
      ++refused_;
      events.Refused(slot, std::move(connection),
                     absl::ResourceExhaustedError("clone"), now);
    };
  }
  // Dispatches the waiting connections at `at`.
  void DispatchAt(net::Instant at) {
    connections_->DispatchWaiting(at, strategy_);
  }

  std::function<void(Slot, net::Connection, net::Instant, Events&)> serve_;
  int refused_ = 0;
};

TEST_F(ConnectionsRefusedTest, KeepsTheConnectionUntilThePauseIsOver) {
  const net::Instant at = Accept();
  EXPECT_EQ(connections_->running(), 1u) << "it counts";
  DispatchAt(at);
  EXPECT_EQ(refused_, 1);
  const net::Instant resume = net::After(at, Gate::kShortestPause);
  EXPECT_EQ(connections_->resume_at(at), resume);
  EXPECT_FALSE(connections_->MayAccept(resume)) << "it is its turn first";
  strategy_.on_dispatch = serve_;
  DispatchAt(resume);
  EXPECT_EQ(totals().fork_failed, 0u);
  EXPECT_EQ(totals().running, 1u);
  EXPECT_TRUE(connections_->MayAccept(resume));
}

TEST_F(ConnectionsRefusedTest, ClosesTheConnectionAfterASecond) {
  const net::Instant at = Accept();
  net::Instant now = at;
  while (connections_->running() == 1) {
    ASSERT_LT(refused_, 100);
    now = connections_->resume_at(now);
    DispatchAt(now);
  }
  EXPECT_GE(now - at, absl::ToChronoNanoseconds(Connections::kLongestWait));
  EXPECT_LT(now - at, absl::ToChronoNanoseconds(absl::Milliseconds(1200)));
  EXPECT_EQ(totals().fork_failed, 1u);
  EXPECT_TRUE(totals().Balanced());
}

TEST_F(ConnectionsRefusedTest, KeepsABoundedNumber) {
  for (size_t i = 0; i < Connections::kMostWaiting + 2; ++i) Accept();
  EXPECT_EQ(connections_->running(), Connections::kMostWaiting);
  EXPECT_EQ(totals().fork_failed, 2u);
}

TEST_F(ConnectionsRefusedTest, ClosesTheConnectionWhenTheServerTerminates) {
  const net::Instant at = Accept();
  connections_->SignalChildren(SIGTERM);
  DispatchAt(at);
  EXPECT_EQ(connections_->running(), 0u);
  EXPECT_EQ(totals().shed, 1u);
}

TEST_F(ConnectionsRefusedTest, EndsAConnectionWhoseDeadlineHasPassed) {
  const net::Instant late = net::After(Accept(), absl::Seconds(1));
  connections_->KillExpired(late);
  DispatchAt(late);
  EXPECT_EQ(connections_->running(), 0u);
  EXPECT_EQ(totals().killed, 1u);
  EXPECT_EQ(refused_, 1);
}

// The shortage may be over when a child ends; and once a process was created,
// the next failure begins with a short pause.
TEST_F(ConnectionsTest, EndsThePauseAtTheNextEndAndItsGrowthAtASuccess) {
  Create(Options());
  const auto serve = strategy_.on_dispatch;
  const auto fail = [](Slot slot, net::Connection, net::Instant now,
                       Events& events) {
    events.Failed(slot, absl::ResourceExhaustedError("clone"), now);
  };
  Accept();
  strategy_.on_dispatch = fail;
  const net::Instant failed_at = Accept();
  EXPECT_FALSE(connections_->MayAccept(failed_at));
  reaper_.End(kPid, FakeReaper::Exited(0));
  Reap(failed_at);
  EXPECT_TRUE(connections_->MayAccept(failed_at));
  strategy_.on_dispatch = serve;
  Accept();
  strategy_.on_dispatch = fail;
  const net::Instant again_at = Accept();
  EXPECT_EQ(connections_->resume_at(again_at),
            net::After(again_at, Gate::kShortestPause));
}

// A dispatch from within an event would call the strategy while it is running.
TEST_F(ConnectionsTest, DispatchesAReturnedConnectionOnlyInDispatchWaiting) {
  Create(Options());
  const net::Instant now = Accept();
  ReturnWhatEnds();
  reaper_.End(kPid, FakeReaper::Killed(SIGSEGV));
  Reap(now);
  EXPECT_EQ(connections_->running(), 1u) << "it still has its slot";
  EXPECT_THAT(strategy_.Take(), ElementsAre("dispatch 0", "ended 4711"));
  connections_->DispatchWaiting(now, strategy_);
  EXPECT_THAT(strategy_.Take(), ElementsAre("dispatch 0"));
  connections_->DispatchWaiting(now, strategy_);
  EXPECT_THAT(strategy_.Take(), IsEmpty()) << "each once";
  EXPECT_EQ(totals().accepted, 1u);
  EXPECT_TRUE(totals().Balanced());
}

// Otherwise the client would wait for the end of a child that was forked
// meanwhile.
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
  // The child to which it is dispatched must have the descriptor.
  strategy_.on_dispatch = [&](Slot slot, net::Connection connection,
                              net::Instant now, Events& events) {
    EXPECT_EQ(connection.fd(), fd);
    EXPECT_TRUE(is_open_in_child());
    Serve(slot, now, events);
  };
  reaper_.End(kPid, FakeReaper::Exited(0));
  reaper_.CleanupChildren(net::Now());
  connections_->DispatchWaiting(net::Now(), strategy_);
}

// A connection that comes back while others are dispatched again waits for the
// next turn: a strategy whose processes always die must not keep the supervisor
// busy.
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
  connections_->DispatchWaiting(now, strategy_);
  EXPECT_EQ(dispatched, 2);
}

TEST_F(ConnectionsTest, ClosesAReturnedConnectionIfTheServerTerminates) {
  Create(Options());
  const net::Instant now = Accept();
  ReturnWhatEnds();
  connections_->SignalChildren(SIGTERM);
  reaper_.End(kPid, FakeReaper::Killed(SIGTERM));
  Reap(now);
  connections_->DispatchWaiting(now, strategy_);
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

}  // namespace
}  // namespace brood::server
