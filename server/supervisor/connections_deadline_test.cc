// SPDX-License-Identifier: Apache-2.0

// Tests how Connections treats connections that have a deadline.

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/server/options.h"
#include "brood/server/supervisor/connections.h"
#include "brood/server/supervisor/connections_fixture.h"
#include "brood/server/vocabulary/slot.h"
#include "brood/testing/fakes/captured_log.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::CapturedLog;
using ::brood::testing::FakeReaper;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Events = Strategy::Events;

class ConnectionsDeadlineTest : public ConnectionsFixture {
 protected:
  ConnectionsDeadlineTest() {
    Options options;
    options.deadlines.connection = absl::Seconds(5);
    Create(options);
  }

  static constexpr absl::Duration kLater = absl::Seconds(6);
};

TEST_F(ConnectionsDeadlineTest, KillsAndCountsTheReason) {
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

TEST_F(ConnectionsDeadlineTest, LogsOnceWhyAProcessCannotBeKilled) {
  CapturedLog log;
  Options options;
  options.deadlines.connection = absl::Seconds(5);
  Create(options, &log.log());
  net::Instant now = Accept();
  reaper_.Refuse(kPid, absl::PermissionDeniedError("kill 4711 signal 9"));
  for (int i = 0; i < 5; ++i) {
    now = net::After(now, kLater);
    connections_->KillExpired(now);
  }
  // A signal to a process that is no child any more counts as no refusal.
  reaper_.Refuse(kPid, absl::NotFoundError("kill 4711"));
  connections_->KillExpired(net::After(now, kLater));
  const std::vector<std::string> events = log.End();
  EXPECT_EQ(std::count(events.begin(), events.end(), "signal-refused"), 1);
  reaper_.End(kPid, FakeReaper::Exited(0));
  Reap(now);
}

TEST_F(ConnectionsDeadlineTest, KillsNoProcessThatDoesNotExistYet) {
  strategy_.on_dispatch = nullptr;  // a zygote takes its time
  const net::Instant late = net::After(Accept(), kLater);
  connections_->KillExpired(late);
  EXPECT_THAT(reaper_.pids(), IsEmpty());
  EXPECT_EQ(connections_->running(), 1u);
  Serve(0, late, *connections_);
  connections_->KillExpired(net::After(late, absl::Seconds(1)));
  EXPECT_THAT(reaper_.signals_to(kPid), ElementsAre(SIGKILL));
}

TEST_F(ConnectionsDeadlineTest,
       ForgetsTheDeadlineOfAConnectionWithoutAProcess) {
  strategy_.on_dispatch = [](Slot slot, net::Connection, net::Instant now,
                             Events& events) {
    events.Failed(slot, absl::ResourceExhaustedError("clone"), now);
  };
  Accept();
  EXPECT_EQ(connections_->next_deadline(), net::Never());
  strategy_.on_dispatch = [](Slot slot, net::Connection connection,
                             net::Instant /*now*/, Events& events) {
    events.Returned(slot, std::move(connection), kPid, FakeReaper::Exited(0));
  };
  const net::Instant at = Accept();
  EXPECT_LT(at, connections_->next_deadline());
  connections_->SignalChildren(SIGTERM);
  connections_->DispatchWaiting(at, strategy_);
  EXPECT_EQ(connections_->next_deadline(), net::Never());
}

// The deadline passes while a connection that came back waits for a process.
TEST_F(ConnectionsDeadlineTest, CountsNoKillWithoutAProcess) {
  const net::Instant at = Accept();
  ReturnWhatEnds();
  reaper_.End(kPid, FakeReaper::Exited(0));
  Reap(at);
  strategy_.on_dispatch = nullptr;
  connections_->DispatchWaiting(at, strategy_);
  const net::Instant late = net::After(at, kLater);
  connections_->KillExpired(late);
  connections_->Serving(0, kPid, late);
  connections_->Ended(0, kPid, FakeReaper::Exited(0), late);
  connections_->SendReports();
  ASSERT_THAT(reports_, SizeIs(1));
  EXPECT_FALSE(reports_[0].signalled_by_us);
}

TEST_F(ConnectionsDeadlineTest, LogsAnExpiredConnectionOnce) {
  CapturedLog captured;
  Options options;
  options.deadlines.connection = absl::Seconds(5);
  Create(options, &captured.log());
  net::Instant late = net::After(Accept(), kLater);
  for (int tries = 0; tries < 3; ++tries) {
    connections_->KillExpired(late);
    late = net::After(late, absl::Seconds(1));
  }
  EXPECT_THAT(reaper_.signals_to(kPid), SizeIs(3));
  EXPECT_THAT(captured.End(), ElementsAre("forked", "expired"));
  connections_.reset();  // it uses that log
}

// Its process was killed because of the deadline, so no other process gets the
// connection.
TEST_F(ConnectionsDeadlineTest, RecordsAnExpiredConnectionThatCameBack) {
  const net::Instant late = net::After(Accept(), kLater);
  ReturnWhatEnds();
  connections_->KillExpired(late);
  // The process exited by itself before the signal arrived.
  reaper_.End(kPid, FakeReaper::Exited(0));
  Reap(late);
  strategy_.Take();
  connections_->DispatchWaiting(late, strategy_);
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
