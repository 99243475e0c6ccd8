// SPDX-License-Identifier: Apache-2.0

// When wait fails: every connection still has exactly one outcome, its slot is
// free for the next one, and nothing of the server is left behind.

#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/server/totals.h"
#include "brood/testing/fault_injector.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::SizeIs;

// Whether the server owns all children of its process. It waits in a different
// way in each case.
enum class Owns { kItsOwn, kEveryChild };

void PrintTo(Owns owns, std::ostream* os) {
  *os << (owns == Owns::kItsOwn ? "ALibrary" : "ItsOwnProgram");
}

class WaitFaultsTest : public ServerTest,
                       public ::testing::WithParamInterface<Owns> {
 protected:
  static constexpr int kWait = FaultInjector::kWait;

  // Starts a server with two slots, so that a lost slot is noticed at once.
  std::unique_ptr<TestServer> StartFaulty() {
    TestServer::Setup setup;
    setup.options.max_connections = 2;
    setup.options.owns_all_children = GetParam() == Owns::kEveryChild;
    setup.before = [this] { faults_.Install(); };
    // Reaps children that a failed wait reported as missing. waitid is not
    // failed, as it is not wait4.
    setup.after = [this] {
      siginfo_t ended;
      while (waitid(P_ALL, 0, &ended, WEXITED | __WALL) == 0) ++*left_over_;
    };
    return StartServer(std::move(setup));
  }

  void ServeOneByOne(const TestServer& server, int clients) {
    for (int i = 0; i < clients; ++i) {
      EXPECT_THAT(ConnectTo(server).Echo(absl::StrCat("client ", i)), IsOk());
    }
  }

  // Returns how many children the server did not reap.
  int left_over() const { return *left_over_; }

  FaultInjector faults_{{kWait}};
  const Shared<std::atomic<int>> left_over_;
};

TEST_P(WaitFaultsTest, RepeatsAnInterruptedWait) {
  const auto server = StartFaulty();
  faults_.Fail(kWait, EINTR);
  ServeOneByOne(*server, 20);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(faults_.failed(kWait), 1);
  EXPECT_EQ(report.totals.ended_ok, 20u);
  EXPECT_EQ(left_over(), 0);
}

TEST_P(WaitFaultsTest, RepeatsAWaitThatIsInterruptedAThousandTimes) {
  const auto server = StartFaulty();
  faults_.Fail(kWait, EINTR, /*first=*/1, /*count=*/1000);
  ServeOneByOne(*server, 20);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(faults_.failed(kWait), 1000);
  EXPECT_EQ(report.totals.ended_ok, 20u);
  EXPECT_EQ(left_over(), 0);
}

TEST_P(WaitFaultsTest, GoesOnAfterEveryWaitWasInterruptedForAWhile) {
  const auto server = StartFaulty();
  // Served before the fault: a server that repeats a wait accepts no client.
  TestClient first = ConnectTo(*server);
  ASSERT_THAT(first.Send("x"), IsOk());
  ASSERT_THAT(first.ExpectReply("x"), IsOk());
  faults_.FailAlways(kWait, EINTR);
  first.Close();
  ASSERT_THAT(faults_.AwaitCalls(kWait, faults_.calls(kWait) + 100), IsOk());
  faults_.Relieve(kWait);
  ServeOneByOne(*server, 20);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, 21u);
  EXPECT_EQ(left_over(), 0);
}

// ECHILD means that another wait has reaped the child. For a server that owns
// all children, the failed wait may have been one for any child: then no
// outcome is unknown.
TEST_P(WaitFaultsTest, RecordsAnUnknownOutcomeIfAWaitFindsNoChild) {
  const auto server = StartFaulty();
  faults_.Fail(kWait, ECHILD);
  ServeOneByOne(*server, 20);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(faults_.failed(kWait), 1);
  EXPECT_EQ(report.totals.accepted, 20u);
  EXPECT_EQ(report.totals.ended_ok + report.totals.unknown, 20u);
  EXPECT_LE(report.totals.unknown, 1u);
  // A server that owns all children reaps it in a later sweep, as unknown
  // child.
  EXPECT_LE(left_over(), static_cast<int>(report.totals.unknown));
}

TEST_P(WaitFaultsTest, FreesEverySlotThoughNoWaitFindsAChild) {
  const auto server = StartFaulty();
  const std::vector<int> descriptors = [&] {
    AwaitIdle(server->pid());
    return DescriptorsOf(absl::StrCat(server->pid()));
  }();
  faults_.FailAlways(kWait, ECHILD);
  ServeOneByOne(*server, 50);
  EXPECT_TRUE(Await([&] { return server->children().empty(); }));
  AwaitIdle(server->pid());
  EXPECT_EQ(DescriptorsOf(absl::StrCat(server->pid())), descriptors);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.accepted, 50u);
  EXPECT_EQ(report.totals.unknown, 50u);
  EXPECT_EQ(left_over(), 50);
  EXPECT_THAT(EventsOf(report.log, "ended", {{"brood.outcome", "unknown"}}),
              SizeIs(50));
  EXPECT_THAT(EventsOf(report.log, "status-taken"), SizeIs(1));
}

INSTANTIATE_TEST_SUITE_P(Of, WaitFaultsTest,
                         ::testing::Values(Owns::kItsOwn, Owns::kEveryChild),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace brood::testing
