// SPDX-License-Identifier: Apache-2.0

#include "brood/server/deadlines/deadlines.h"

#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/listener.h"
#include "brood/server/deadlines/timer_wheel.h"
#include "brood/server/log/event_log.h"
#include "brood/server/log_level.h"
#include "brood/server/options.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;

class WatchedConnectionTest : public ::brood::testing::LeakCheck {
 protected:
  ConnectionPair pair_ = *ConnectionPair::Create();
};

TEST_F(WatchedConnectionTest, IsNotAskedAboutBeforeItCanBeLateNorAfterItsEnd) {
  const net::Listener listener = *net::Listener::Listen(
      *net::Endpoint::Parse("127.0.0.1:0"), /*backlog=*/1);
  EventLog log(LogLevel::kOff);
  // All within one turn of the wheel.
  const struct {
    int first_byte, idle, peer, looked_at;
  } kSeconds[] = {{3, 0, 0, 3}, {0, 8, 0, 4},  {3, 8, 0, 3},
                  {4, 6, 0, 3}, {4, 6, 16, 2}, {0, 0, 0, 5}};
  for (const auto& seconds : kSeconds) {
    Options options;
    options.deadlines.first_byte = absl::Seconds(seconds.first_byte);
    options.deadlines.idle = absl::Seconds(seconds.idle);
    options.deadlines.peer = absl::Seconds(seconds.peer);
    options.deadlines.connection = absl::Seconds(5);
    const auto created =
        Deadlines::Create(options, 1, net::Now(), {&listener}, &log);
    ASSERT_THAT(created, IsOk());
    Deadlines& deadlines = **created;
    EXPECT_EQ(deadlines.next(), net::Never());
    deadlines.Watch(0, pair_.connection);
    const net::Instant late = net::After(pair_.connection.accepted_at(),
                                         absl::Seconds(seconds.looked_at));
    EXPECT_GE(deadlines.next(), late);
    EXPECT_LE(deadlines.next(), net::After(late, TimerWheel::kTick));
    deadlines.Forget(0);
    EXPECT_EQ(deadlines.next(), net::Never());
  }
}

// Matters for a process that serves more than one connection: its report does
// not end this deadline.
TEST_F(WatchedConnectionTest, EndsAtItsOwnDeadline) {
  EventLog log(LogLevel::kOff);
  for (const int seconds : {0, 5}) {
    Options options;
    options.deadlines.connection = absl::Seconds(seconds);
    const auto created = Deadlines::Create(options, 1, net::Now(), {}, &log);
    ASSERT_THAT(created, IsOk());
    (*created)->Watch(0, pair_.connection);
    EXPECT_EQ((*created)->EndOf(0),
              seconds == 0 ? net::Never()
                           : net::After(pair_.connection.accepted_at(),
                                        absl::Seconds(seconds)));
  }
}

}  // namespace
}  // namespace brood::server
