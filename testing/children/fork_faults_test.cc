// SPDX-License-Identifier: Apache-2.0

// When no process can be created: the client waits for up to a second, and then
// its connection is closed; other clients lose nothing.

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

  // Starts a server whose faults are for the process that forks children.
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

  // Expects that the server ended the connection without a byte, in order or by
  // a reset (because it had not read what was sent).
  static void ExpectRejected(TestClient& client) {
    const absl::StatusOr<std::string> all = client.ReadUntilEof();
    if (all.ok()) {
      EXPECT_EQ(*all, "");
    } else {
      EXPECT_THAT(all, StatusIs(absl::StatusCode::kUnavailable));
    }
  }

  // Returns the descriptors of a server that serves no client.
  static std::vector<int> DescriptorsOfIdle(const TestServer& server) {
    ExpectRest(server);
    AwaitIdle(server.pid());
    return DescriptorsOf(std::to_string(server.pid()));
  }

  FaultInjector faults_{{kFork}};
};

// For strategies that create a process for each connection. The server tries
// again, so no client loses its connection.
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

// For strategies that create processes ahead. As long as a process waits, a
// failure affects no client. A client for which no process waits loses its
// connection at once.
void ForkFaultsTest::FailsFiveTimesAhead(int error) {
  const auto server = StartFaulty();
  ExpectRest(*server);
  faults_.Fail(kFork, error, /*first=*/3, /*count=*/5);
  uint64_t rejected = 0;
  for (int i = 1; i <= 100; ++i) {
    SCOPED_TRACE("client " + std::to_string(i));
    // The process is killed after each client, in every strategy.
    TestClient client = ConnectTo(*server);
    if (!client.Echo("hello").ok()) {
      ++rejected;
      continue;
    }
    for (pid_t pid : AwaitServing(*server, 1)) kill(pid, SIGKILL);
    EXPECT_THAT(client.ExpectEof(), IsOk());
  }
  ExpectRest(*server);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(faults_.failed(kFork), 5);
  EXPECT_LT(rejected, 5u) << "no process was waiting ahead";
  EXPECT_EQ(report.totals.fork_failed, rejected);
  EXPECT_EQ(report.totals.crashed_by[SIGKILL], 100u - rejected);
  const auto failed = EventsOf(report.log, "prefork-failed");
  ASSERT_THAT(failed, Not(IsEmpty()));
  EXPECT_THAT(failed[0].Text("error.message"), HasSubstr(strerror(error)));
}

TEST_P(ForkFaultsTest, LosesNoClientInAShortShortageOfProcesses) {
  if (row().made_after_accept) {
    FailsFiveTimes(EAGAIN);
  } else {
    FailsFiveTimesAhead(EAGAIN);
  }
}

TEST_P(ForkFaultsTest, LosesNoClientInAShortShortageOfMemory) {
  if (row().made_after_accept) {
    FailsFiveTimes(ENOMEM);
  } else {
    FailsFiveTimesAhead(ENOMEM);
  }
}

TEST_P(ForkFaultsTest, RestsUntilAChildEndsIfTheProcessTableIsFull) {
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
    // The first clients would get the processes that wait. A process may have
    // been created just before forks began to fail, so looks several times.
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
  // Each client waits for a second, while the pauses grow up to a limit.
  constexpr uint64_t kRejected = 2;
  for (uint64_t i = 0; i < kRejected; ++i) {
    TestClient client = ConnectTo(*server);
    ExpectRejected(client);
  }
  TestClient waiting = ConnectTo(*server);
  EXPECT_THAT(waiting.Send("waiting"), IsOk());
  const absl::Duration busy = CpuTimeOf(server->pid()) - busy_before;
  EXPECT_LT(busy, absl::Milliseconds(50)) << "the server spins";

  // Forks succeed again, and a child ends.
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
  EXPECT_EQ(totals.fork_failed, kRejected);
  EXPECT_EQ(totals.ended_ok, 11u);
}

INSTANTIATE_TEST_SUITE_P(With, ForkFaultsTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
