// SPDX-License-Identifier: Apache-2.0

// Tests connections for which the strategy has no room (F11).

#include <csignal>
#include <cstddef>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/server/options.h"
#include "brood/server/supervisor/connections.h"
#include "brood/server/supervisor/connections_fixture.h"
#include "brood/server/vocabulary/slot.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::ElementsAre;

// A strategy that has no room for any connection.
class ConnectionsDeferredTest : public ConnectionsFixture {
 protected:
  ConnectionsDeferredTest() {
    max_connections_ = 100;
    strategy_.has_room = false;
    serve_ = std::exchange(
        strategy_.on_dispatch,
        [this](Slot slot, net::Connection connection, net::Instant now,
               Strategy::Events& events) {
          ++deferred_;
          events.Deferred(slot, std::move(connection),
                          absl::UnavailableError("the queue is full"), now);
        });
  }
  // Creates the connections of a server with a deadline of `length`.
  void CreateWithDeadline(absl::Duration length) {
    Options options;
    options.deadlines.connection = length;
    Create(options);
  }
  // Dispatches the waiting connections at `at`.
  void DispatchAt(net::Instant at) {
    connections_->DispatchWaiting(at, strategy_);
  }

  std::function<void(Slot, net::Connection, net::Instant, Strategy::Events&)>
      serve_;
  int deferred_ = 0;
};

// However long that takes: the strategy makes room, or fails the connection.
TEST_F(ConnectionsDeferredTest, WaitUntilTheStrategyHasRoom) {
  Create(Options());
  const net::Instant late = net::After(Accept(), absl::Hours(1));
  EXPECT_EQ(connections_->running(), 1u) << "it counts";
  DispatchAt(late);
  EXPECT_EQ(deferred_, 1) << "it is not tried without room";
  EXPECT_FALSE(connections_->MayAccept(late)) << "it is its turn first";
  strategy_.has_room = true;
  strategy_.on_dispatch = serve_;
  DispatchAt(late);
  EXPECT_THAT(reaper_.pids(), ElementsAre(kPid));
  EXPECT_EQ(totals().running, 1u);
  EXPECT_EQ(totals().fork_failed, 0u);
  EXPECT_TRUE(connections_->MayAccept(late));
}

// The strategy had room for one connection less than it promised.
TEST_F(ConnectionsDeferredTest, WaitAgainIfTheRoomIsGone) {
  Create(Options());
  const net::Instant at = Accept();
  strategy_.has_room = true;
  DispatchAt(at);
  EXPECT_EQ(deferred_, 2);
  EXPECT_EQ(connections_->running(), 1u);
}

TEST_F(ConnectionsDeferredTest, WaitInABoundedNumber) {
  Create(Options());
  for (size_t i = 0; i < Connections::kMostWaiting + 2; ++i) Accept();
  EXPECT_EQ(connections_->running(), Connections::kMostWaiting);
  EXPECT_EQ(totals().fork_failed, 2u);
  EXPECT_TRUE(totals().Balanced());
}

TEST_F(ConnectionsDeferredTest, AreClosedWhenTheServerTerminates) {
  Create(Options());
  const net::Instant at = Accept();
  connections_->SignalChildren(SIGTERM);
  DispatchAt(at);
  EXPECT_EQ(totals().shed, 1u);
  Accept();
  EXPECT_EQ(totals().fork_failed, 1u) << "it does not wait any more";
  EXPECT_EQ(connections_->running(), 0u);
}

TEST_F(ConnectionsDeferredTest, EndWhenTheirDeadlineHasPassed) {
  CreateWithDeadline(absl::Milliseconds(500));
  const net::Instant late = net::After(Accept(), absl::Seconds(1));
  connections_->KillExpired(late);
  DispatchAt(late);
  EXPECT_EQ(connections_->running(), 0u);
  EXPECT_EQ(totals().killed, 1u);
  EXPECT_EQ(deferred_, 1);
}

}  // namespace
}  // namespace brood::server
