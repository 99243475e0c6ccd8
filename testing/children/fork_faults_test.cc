// SPDX-License-Identifier: Apache-2.0

// When no process can be created: the client waits for up to a second, and then
// loses its connection; other clients lose nothing.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/server/totals.h"
#include "brood/testing/fault_injector.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/zygote_log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ForkFaultsTest : public StrategyTest {
 protected:
  static constexpr int kFork = FaultInjector::kFork;

  // The faults are for whichever process makes those of connections.
  std::unique_ptr<TestServer> StartFaulty() {
    TestServer::Setup setup;
    setup.before = [this] { faults_.Install(); };
    auto server = StartServer(std::move(setup));
    if (!row().forks_itself) {
      const absl::StatusOr<pid_t> zygote = AwaitZygote(*server);
      EXPECT_THAT(zygote, IsOk());
      faults_.AimAt(zygote.ok() ? *zygote : 0);
    }
    return server;
  }

  void FailsFiveTimes(int error);
  void FailsFiveTimesAhead(int error);

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
    ExpectRest(server);
    AwaitIdle(server.pid());
    return DescriptorsOf(std::to_string(server.pid()));
  }

  FaultInjector faults_{{kFork}};
};

// A process is created for each connection. It is tried again, so no client
// loses its connection.
void ForkFaultsTest::FailsFiveTimes(int error) {
  const auto server = StartFaulty();
  std::vector<int> descriptors;
  const int64_t calls_before = faults_.calls(kFork);
  faults_.Fail(kFork, error, /*first=*/3, /*count=*/5);
  absl::Duration slowest;
  for (int i = 1; i <= 100; ++i) {
    SCOPED_TRACE("client " + std::to_string(i));
    if (i == 3) descriptors = DescriptorsOfIdle(*server);
    const net::Instant start = net::Now();
    EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
    slowest = std::max(slowest, absl::FromChrono(net::Now() - start));
  }
  EXPECT_LT(slowest, absl::Seconds(1));
  RecordProperty("slowest_us",
                 static_cast<int>(absl::ToInt64Microseconds(slowest)));
  EXPECT_EQ(DescriptorsOfIdle(*server), descriptors);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.fork_failed, 0u);
  EXPECT_EQ(report.totals.ended_ok, 100u);
  EXPECT_EQ(faults_.calls(kFork) - calls_before, 105);
  if (!row().forks_itself) return;
  const auto delayed =
      EventsOf(report.log, "fork-delayed", {{"client.address", "127.0.0.1"}});
  ASSERT_THAT(delayed, Not(IsEmpty()));
  EXPECT_THAT(delayed[0].Text("error.message"), HasSubstr(strerror(error)));
}

// Processes are made ahead: as long as one waits, a failure costs nobody, and a
// client for whom none waits is told at once.
void ForkFaultsTest::FailsFiveTimesAhead(int error) {
  const auto server = StartFaulty();
  ExpectRest(*server);
  faults_.Fail(kFork, error, /*first=*/3, /*count=*/5);
  uint64_t turned_away = 0;
  for (int i = 1; i <= 100; ++i) {
    SCOPED_TRACE("client " + std::to_string(i));
    // Its process ends with it, in every strategy.
    TestClient client = ConnectTo(*server);
    if (!client.Echo("hello").ok()) {
      ++turned_away;
      continue;
    }
    for (pid_t pid : AwaitServing(*server, 1)) kill(pid, SIGKILL);
    EXPECT_THAT(client.ExpectEof(), IsOk());
  }
  ExpectRest(*server);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(faults_.failed(kFork), 5);
  EXPECT_LT(turned_away, 5u) << "nobody was waiting ahead";
  EXPECT_EQ(report.totals.fork_failed, turned_away);
  EXPECT_EQ(report.totals.crashed_by[SIGKILL], 100u - turned_away);
  const auto failed = EventsOf(report.log, "prefork-failed");
  ASSERT_THAT(failed, Not(IsEmpty()));
  EXPECT_THAT(failed[0].Text("error.message"), HasSubstr(strerror(error)));
}

TEST_P(ForkFaultsTest, AShortageOfProcessesThatPassesCostsNoClient) {
  if (row().made_after_accept) {
    FailsFiveTimes(EAGAIN);
  } else {
    FailsFiveTimesAhead(EAGAIN);
  }
}

TEST_P(ForkFaultsTest, AShortageOfMemoryThatPassesCostsNoClient) {
  if (row().made_after_accept) {
    FailsFiveTimes(ENOMEM);
  } else {
    FailsFiveTimesAhead(ENOMEM);
  }
}

TEST_P(ForkFaultsTest, WhenTheProcessTableIsFullItRestsUntilAChildEnds) {
  const auto server = StartFaulty();
  std::vector<TestClient> held;
  for (int i = 0; i < 10; ++i) {
    held.push_back(ConnectTo(*server));
    EXPECT_THAT(held.back().Echo("held"), IsOk());
  }
  const std::vector<pid_t> serving = AwaitServing(*server, 10);
  ExpectRest(*server, /*busy=*/10);
  faults_.FailAlways(kFork, EAGAIN);
  if (!row().made_after_accept) {
    // Whoever waits would be given to the first who come.
    // One may have been born a moment before forks began to fail.
    EXPECT_TRUE(Await([&] {
      for (pid_t child : server->children()) {
        if (std::count(serving.begin(), serving.end(), child) == 0) {
          kill(child, SIGKILL);
        }
      }
      return server->children().size() == 10;
    }));
    AwaitIdle(server->pid());
  }
  const absl::Duration busy_before = CpuTimeOf(server->pid());
  // Each waits for a second, while the pauses grow up to a limit.
  constexpr uint64_t kTurnedAway = 2;
  for (uint64_t i = 0; i < kTurnedAway; ++i) {
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
  EXPECT_EQ(totals.fork_failed, kTurnedAway);
  EXPECT_EQ(totals.ended_ok, 11u);
}

INSTANTIATE_TEST_SUITE_P(With, ForkFaultsTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
