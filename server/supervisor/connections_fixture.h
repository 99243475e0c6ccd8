// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SUPERVISOR_CONNECTIONS_FIXTURE_H_
#define BROOD_SERVER_SUPERVISOR_CONNECTIONS_FIXTURE_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/proc/reaper.h"
#include "brood/server/connection_report.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/supervisor/connections.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/server/vocabulary/slot.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/fake_strategy.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {

// ConnectionsFixture has the connections of a server with two slots, a strategy
// that gives each connection to process kPid + slot, and the reports that the
// embedder got.
//
// For unit tests of Connections, in one process. A test calls Create() first.
//
// Example:
//   using ConnectionsTest = ConnectionsFixture;
//   TEST_F(ConnectionsTest, CountsAConnection) {
//     Create(Options());
//     Accept();
//     EXPECT_EQ(totals().accepted, 1u);
//   }
class ConnectionsFixture : public ::brood::testing::LeakCheck {
 protected:
  // The pid of the process for slot 0.
  static constexpr pid_t kPid = 4711;

  // Makes the strategy create a process for each connection; see Serve().
  ConnectionsFixture() {
    strategy_.on_dispatch = [this](Slot slot, net::Connection, net::Instant now,
                                   Strategy::Events& events) {
      Serve(slot, now, events);
    };
  }

  // Creates the connections of a server with `options`.
  void Create(Options options) { Create(std::move(options), &log_); }
  // Creates the connections of a server with `options`, which log to `log`.
  void Create(Options options, EventLog* log) {
    options.max_connections = max_connections_;
    options.log.level = LogLevel::kOff;
    options.on_connection_end = [this](const ConnectionReport& report) {
      EXPECT_FALSE(strategy_.busy()) << "reported from within the strategy";
      reports_.push_back(report);
      if (on_report_) on_report_();
    };
    auto deadlines = Deadlines::Create(options, options.Capacity(), net::Now(),
                                       /*listeners=*/{}, log);
    ASSERT_THAT(deadlines, ::brood::testing::IsOk());
    connections_ = std::make_unique<Connections>(options, *std::move(deadlines),
                                                 &reaper_, log);
  }

  // Registers process kPid + `slot` with the reaper, and reports to `events`
  // that it serves the connection.
  void Serve(Slot slot, net::Instant now, Strategy::Events& events) {
    const pid_t pid = kPid + static_cast<pid_t>(slot);
    reaper_.Adopt(proc::Child::Adopt(pid), ChildTag::Connection(slot).Pack());
    events.Serving(slot, pid, now);
  }

  // Accepts a connection. Returns the time of accept.
  net::Instant Accept() {
    absl::StatusOr<::brood::testing::ConnectionPair> pair =
        ::brood::testing::ConnectionPair::Create();
    EXPECT_THAT(pair, ::brood::testing::IsOk());
    const net::Instant at = pair->connection.accepted_at();
    connections_->Dispatch(std::move(pair->connection), strategy_);
    return at;
  }

  // Does what the supervisor does when children have ended.
  void Reap(net::Instant now) {
    for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now)) {
      strategy_.ChildEnded(ChildTag::Unpack(ended.tag), ended, now,
                           *connections_);
    }
  }

  // Makes the strategy return each connection whose process ends, as if the
  // process had not taken it over.
  void ReturnWhatEnds() {
    strategy_.on_child_ended =
        [](ChildTag tag, const proc::Reaper::Ended& ended, net::Instant /*now*/,
           Strategy::Events& events) {
          absl::StatusOr<::brood::testing::ConnectionPair> pair =
              ::brood::testing::ConnectionPair::Create();
          events.Returned(tag.index, std::move(pair->connection), ended.pid,
                          ended.status);
        };
  }

  // Returns the counters of the connections.
  const Totals& totals() const { return connections_->totals(); }

  // A log that writes nothing.
  EventLog log_{LogLevel::kOff};
  // The reaper, which has the processes of Serve().
  ::brood::testing::FakeReaper reaper_;
  // The strategy to which Accept() gives connections.
  ::brood::testing::FakeStrategy strategy_;
  // The object under test; null before Create().
  std::unique_ptr<Connections> connections_;
  // The reports that the embedder got, in their order.
  std::vector<ConnectionReport> reports_;
  // The cap of connections, for the next Create().
  int max_connections_ = 2;
  // Is called at each report, if set.
  std::function<void()> on_report_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_CONNECTIONS_FIXTURE_H_
