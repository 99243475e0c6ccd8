// SPDX-License-Identifier: Apache-2.0
//
// Children that the server may not signal, because it has given up root since
// it created them: a stop leaves them behind, in time, and logs that.

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::SizeIs;

constexpr uid_t kNobody = 65534;
constexpr absl::Duration kGrace = absl::Milliseconds(200);

class UnkillableTest : public StrategyTest {
 protected:
  UnkillableTest() {
    setup_.options.max_connections = 4;
    setup_.options.spares.min = 1;
    setup_.options.spares.max = 2;
    setup_.options.pool.workers = 2;
    setup_.options.drain_grace = kGrace;
    setup_.may_leave_traces = true;
    // Two clients are served when root is given up.
    setup_.run = [this](server::TcpServer& server) -> absl::Status {
      while (server.totals().running < 2) {
        const absl::StatusOr<bool> goes_on = server.Step(absl::Seconds(10));
        if (!goes_on.ok()) return goes_on.status();
      }
      if (setresuid(kNobody, kNobody, kNobody) < 0) {
        return absl::InternalError("setresuid");
      }
      *gave_up_root_ = true;
      if (!stops_in_destructor_) {
        const absl::Status ran = server.Run();
        return ran;
      }
      return absl::OkStatus();
    };
  }

  TestServer::Setup setup_;
  bool stops_in_destructor_ = false;
  const Shared<std::atomic<bool>> gave_up_root_;
};

INSTANTIATE_TEST_SUITE_P(With, UnkillableTest, EachStrategy(), StrategyName());

TEST_P(UnkillableTest, LeavesChildrenOfAnotherUserBehindInTime) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give up being root";
  for (const bool in_destructor : {false, true}) {
    SCOPED_TRACE(in_destructor);
    stops_in_destructor_ = in_destructor;
    *gave_up_root_ = false;
    const auto server = StartServer(setup_);
    TestClient first = ConnectTo(*server), second = ConnectTo(*server);
    ASSERT_TRUE(Await([&] { return gave_up_root_->load(); }));
    const net::Instant start = net::Now();
    if (!in_destructor) server->Signal(SIGTERM);
    const TestServer::Report report = server->AwaitExit();
    const absl::Duration took = absl::FromChrono(net::Now() - start);
    RecordProperty(
        in_destructor ? "milliseconds_of_destructor" : "milliseconds_of_stop",
        static_cast<int>(absl::ToInt64Milliseconds(took)));
    // 200 ms after the grace is promised; the rest is for a busy machine.
    EXPECT_LT(took, kGrace + absl::Seconds(1));
    EXPECT_TRUE(report.exit_status.exited()) << report.exit_status.ToString();
    EXPECT_EQ(report.run_status, "OK");
    EXPECT_TRUE(report.balanced);
    EXPECT_THAT(EventsOf(report.log, "signal-refused"), SizeIs(1));
    EXPECT_THAT(EventsOf(report.log, "killing"), SizeIs(1));
    EXPECT_THAT(EventsOf(report.log, "left-behind"), SizeIs(1));
    if (!in_destructor) {
      EXPECT_EQ(report.totals.unknown, 2u);
    }
    EXPECT_LT(report.log.size(), 10000u);
    // The children go on, and end when their clients close.
    EXPECT_THAT(first.Echo("hello"), IsOk());
    EXPECT_THAT(second.Echo("hello"), IsOk());
  }
}

}  // namespace
}  // namespace brood::testing
