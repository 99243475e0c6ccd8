// When no process can be made: the client that it was meant for loses its
// connection, and nobody else anything.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/server/scoreboard.h"
#include "brood/testing/fault_injector.h"
#include "brood/testing/observe.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;

class ForkFaultsTest : public ServerTest,
                       public ::testing::WithParamInterface<int> {
 protected:
  static constexpr int kFork = FaultInjector::kFork;

  std::unique_ptr<TestServer> StartFaulty() {
    TestServer::Setup setup;
    setup.before = [this] { faults_.Install(); };
    return StartServer(std::move(setup));
  }

  // That the server ended the connection without a byte, in order or by a reset
  // (for it had not read what was sent).
  static void ExpectTurnedAway(TestClient& client) {
    const absl::StatusOr<std::string> all = client.ReadUntilEof();
    if (all.ok()) {
      EXPECT_EQ(*all, "");
    } else {
      EXPECT_THAT(all, StatusIs(absl::StatusCode::kUnavailable));
    }
  }

  // What a server has open that has nobody to serve.
  static std::vector<int> DescriptorsOfIdle(const TestServer& server) {
    EXPECT_TRUE(Await([&] { return server.children().empty(); }));
    AwaitIdle(server.pid());
    return DescriptorsOf(std::to_string(server.pid()));
  }

  FaultInjector faults_{{kFork}};
};

TEST_P(ForkFaultsTest, EachFailureCostsOneClientAndNoMore) {
  const auto server = StartFaulty();
  std::vector<int> descriptors;
  faults_.Fail(kFork, GetParam(), /*first=*/3, /*count=*/5);
  absl::Duration slowest;
  for (int i = 1; i <= 100; ++i) {
    SCOPED_TRACE("client " + std::to_string(i));
    if (i == 3) descriptors = DescriptorsOfIdle(*server);
    TestClient client = ConnectTo(*server);
    const net::Instant start = net::Now();
    if (3 <= i && i <= 7) {
      ExpectTurnedAway(client);
      slowest = std::max(slowest, absl::FromChrono(net::Now() - start));
    } else {
      EXPECT_THAT(client.Echo("hello"), IsOk());
    }
  }
  // They are told at once; what takes long is the pause that the one before
  // caused.
  EXPECT_LT(slowest, absl::Seconds(1));
  RecordProperty("slowest_refusal_us",
                 static_cast<int>(absl::ToInt64Microseconds(slowest)));
  EXPECT_EQ(DescriptorsOfIdle(*server), descriptors);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.fork_failed, 5u);
  EXPECT_EQ(report.totals.ended_ok, 95u);
  EXPECT_EQ(faults_.calls(kFork), 100);
  EXPECT_THAT(report.log, HasSubstr("no process for 127.0.0.1:"));
  EXPECT_THAT(report.log, HasSubstr(strerror(GetParam())));
}

INSTANTIATE_TEST_SUITE_P(Of, ForkFaultsTest, ::testing::Values(EAGAIN, ENOMEM),
                         [](const auto& info) {
                           return strerrorname_np(info.param);
                         });

TEST_F(ForkFaultsTest, WhenTheProcessTableIsFullItRestsUntilAChildEnds) {
  const auto server = StartFaulty();
  std::vector<TestClient> held;
  for (int i = 0; i < 10; ++i) {
    held.push_back(ConnectTo(*server));
    EXPECT_THAT(held.back().Echo("held"), IsOk());
  }
  faults_.FailAlways(kFork, EAGAIN);
  const absl::Duration busy_before = CpuTimeOf(server->pid());
  // Each pauses it for longer, up to a limit.
  for (int i = 0; i < 7; ++i) {
    TestClient client = ConnectTo(*server);
    ExpectTurnedAway(client);
  }
  TestClient waiting = ConnectTo(*server);
  EXPECT_THAT(waiting.Send("waiting"), IsOk());
  const absl::Duration busy = CpuTimeOf(server->pid()) - busy_before;
  EXPECT_LT(busy, absl::Milliseconds(50)) << "it spins";

  // There is room again, for a child has ended.
  faults_.Relieve(kFork);
  const net::Instant start = net::Now();
  held.pop_back();
  EXPECT_THAT(waiting.ExpectReply("waiting"), IsOk());
  const absl::Duration recovery = absl::FromChrono(net::Now() - start);
  EXPECT_LT(recovery, absl::Milliseconds(400)) << "200 ms, but for load";
  RecordProperty("recovery_us",
                 static_cast<int>(absl::ToInt64Microseconds(recovery)));
  for (TestClient& client : held) {
    EXPECT_THAT(client.Echo("as ever"), IsOk());
  }
  held.clear();
  waiting.Close();
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.fork_failed, 7u);
  EXPECT_EQ(totals.ended_ok, 11u);
}

}  // namespace
}  // namespace brood::testing
