// SPDX-License-Identifier: Apache-2.0

// When accept fails: the server neither spins nor gives up, a failure for one
// client loses no other client, and the server reports when it has no listener
// left.

#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/server/handler.h"
#include "brood/testing/fault_injector.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class AcceptFaultsTest : public StrategyTest {
 protected:
  std::unique_ptr<TestServer> StartFaulty(
      TestServer::Setup setup = TestServer::Setup()) {
    setup.before = [this] { faults_.Install(); };
    return StartServer(std::move(setup));
  }

  // Connects clients whose children live. The server has finished its work for
  // them, and has checked that no more clients wait.
  std::vector<TestClient> Hold(TestServer& server, int count) {
    std::vector<TestClient> clients;
    for (int i = 0; i < count; ++i) {
      clients.push_back(ConnectTo(server));
      EXPECT_THAT(clients.back().Echo("held"), IsOk());
    }
    EXPECT_THAT(AwaitServing(server, count), SizeIs(count));
    AwaitIdle(server.pid());
    return clients;
  }

  // Connects clients that wait in the kernel's queue, and sends their requests.
  std::vector<TestClient> Queue(const TestServer& server, int count) {
    std::vector<TestClient> clients;
    for (int i = 0; i < count; ++i) {
      clients.push_back(ConnectTo(server));
      EXPECT_THAT(clients.back().Send("request"), IsOk());
    }
    return clients;
  }

  // Expects that all `clients` are served, and returns how long that took.
  static absl::Duration ExpectServed(std::vector<TestClient>& clients) {
    const net::Instant start = net::Now();
    for (TestClient& client : clients) {
      EXPECT_THAT(client.ExpectReply("request"), IsOk());
    }
    return absl::FromChrono(net::Now() - start);
  }

  // Expects that a client of a listener that fails is reset, by connect() or
  // later.
  static void ExpectUnlucky(const net::Endpoint& listener) {
    auto client = TestClient::Connect(listener);
    EXPECT_THAT(client.ok() ? client->Echo("hello") : client.status(),
                StatusIs(absl::StatusCode::kUnavailable));
  }

  // Fails accept twenty times with `error`, while children end.
  void FailTwentyTimes(int error);

  int64_t accepts() const { return faults_.calls(SYS_accept4); }

  FaultInjector faults_{{SYS_accept4}};
};

// Limits the server process to the descriptors that it has. Returns the limits
// before.
rlimit LimitDescriptorsOf(pid_t pid) {
  const std::vector<int> open = DescriptorsOf(std::to_string(pid));
  rlimit before, tight;
  prlimit(pid, RLIMIT_NOFILE, nullptr, &before);
  tight = before;
  tight.rlim_cur = 0;
  for (int fd : open) {
    if (fd != static_cast<int>(tight.rlim_cur)) break;
    ++tight.rlim_cur;  // so the lowest free number exceeds the limit
  }
  prlimit(pid, RLIMIT_NOFILE, &tight, nullptr);
  return before;
}

TEST_P(AcceptFaultsTest, RestsAndReapsAndRecoversWithoutDescriptors) {
  TestServer::Setup setup;
  setup.options.pool.workers = 30;
  const auto server = StartFaulty(std::move(setup));
  ExpectRest(*server);
  std::vector<TestClient> held = Hold(*server, 21);
  const rlimit ample = LimitDescriptorsOf(server->pid());

  const int64_t accepts_before = accepts();
  const absl::Duration busy_before = CpuTimeOf(server->pid());
  std::vector<TestClient> queued = Queue(*server, 8);
  ASSERT_THAT(faults_.AwaitCalls(SYS_accept4, accepts_before + 1), IsOk());
  // The claim is about two seconds, during which children end one by one.
  absl::Duration slowest_reap;
  for (int i = 0; i < 20; ++i) {
    LetPass(absl::Milliseconds(100));
    held.pop_back();
    const net::Instant start = net::Now();
    EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.code", 0}}), IsOk());
    slowest_reap = std::max(slowest_reap, absl::FromChrono(net::Now() - start));
  }
  const absl::Duration busy = CpuTimeOf(server->pid()) - busy_before;
  const int64_t calls = accepts() - accepts_before;
  EXPECT_LE(calls, 40);
  // Spares are forked in that time.
  EXPECT_LT(busy, kCostOfFork * absl::Milliseconds(40)) << "2 %";
  EXPECT_LT(slowest_reap, absl::Milliseconds(500)) << "50 ms, but for load";
  EXPECT_THAT(EventsOf(server->log(), "accept-paused",
                       {{"error.message", strerror(EMFILE)}}),
              Not(IsEmpty()));

  // The end of a child makes the server try again at once.
  prlimit(server->pid(), RLIMIT_NOFILE, &ample, nullptr);
  held.clear();
  const absl::Duration recovery = ExpectServed(queued);
  EXPECT_LT(recovery, absl::Seconds(1)) << "200 ms, but for load";
  queued.clear();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 29u);
  RecordProperty("accept4_calls_in_2_s", static_cast<int>(calls));
  RecordProperty("cpu_us_in_2_s",
                 static_cast<int>(absl::ToInt64Microseconds(busy)));
  RecordProperty("slowest_reap_us",
                 static_cast<int>(absl::ToInt64Microseconds(slowest_reap)));
  RecordProperty("recovery_us",
                 static_cast<int>(absl::ToInt64Microseconds(recovery)));
}

TEST_P(AcceptFaultsTest, PausesBrieflyThoughNoChildEnds) {
  const auto server = StartFaulty();
  std::vector<TestClient> held = Hold(*server, 1);  // until the end
  const rlimit ample = LimitDescriptorsOf(server->pid());
  std::vector<TestClient> queued = Queue(*server, 8);
  // The pauses double; after seven failures they have their greatest length.
  ASSERT_THAT(faults_.AwaitCalls(SYS_accept4, accepts() + 7), IsOk());
  prlimit(server->pid(), RLIMIT_NOFILE, &ample, nullptr);
  const absl::Duration recovery = ExpectServed(queued);
  EXPECT_LT(recovery, absl::Milliseconds(600)) << "200 ms, but for load";
  RecordProperty("recovery_us",
                 static_cast<int>(absl::ToInt64Microseconds(recovery)));
  queued.clear();
  held.clear();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 9u);
}

// A child that ends frees some of each resource, so the server tries again at
// once, and not when the pause is over.
void AcceptFaultsTest::FailTwentyTimes(int error) {
  TestServer::Setup setup;
  setup.options.pool.workers = 120;
  const auto server = StartFaulty(std::move(setup));
  std::vector<TestClient> held = Hold(*server, 20);
  const int64_t accepts_before = accepts();
  faults_.Fail(SYS_accept4, error, /*first=*/1, /*count=*/20);
  std::vector<TestClient> queued = Queue(*server, 100);
  absl::Duration quickest = absl::InfiniteDuration();
  for (int failures = 1; failures <= 20; ++failures) {
    const net::Instant start = net::Now();
    ASSERT_THAT(faults_.AwaitCalls(SYS_accept4, accepts_before + failures),
                IsOk());
    if (failures > 10) {  // the pauses have their greatest length: 150 ms
      quickest = std::min(quickest, absl::FromChrono(net::Now() - start));
    }
    held.pop_back();
  }
  EXPECT_LT(quickest, absl::Milliseconds(75));
  ExpectServed(queued);
  EXPECT_EQ(faults_.failed(SYS_accept4), 20);
  queued.clear();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 120u);
}

TEST_P(AcceptFaultsTest, LosesNoClientWhenAcceptIsOutOfMemoryTwentyTimes) {
  FailTwentyTimes(ENOMEM);
}

TEST_P(AcceptFaultsTest, LosesNoClientWhenAcceptIsOutOfBuffersTwentyTimes) {
  FailTwentyTimes(ENOBUFS);
}

TEST_P(AcceptFaultsTest, LosesNoClientWhenTheSystemIsOutOfFilesTwentyTimes) {
  FailTwentyTimes(ENFILE);
}

TEST_P(AcceptFaultsTest, LosesNoClientWhenTheServerIsOutOfFilesTwentyTimes) {
  FailTwentyTimes(EMFILE);
}

TEST_P(AcceptFaultsTest, ServesTheNextClientAfterANetworkErrorOfOneClient) {
  constexpr std::array kErrors = {
      ECONNABORTED, EINTR,       EPROTO, ENOPROTOOPT, EOPNOTSUPP,   EPERM,
      ENETDOWN,     ENETUNREACH, ENONET, EHOSTDOWN,   EHOSTUNREACH, ETIMEDOUT};
  const auto server = StartFaulty();
  const net::Instant start = net::Now();
  for (int error : kErrors) {
    for (int times : {1, 10}) {
      SCOPED_TRACE(std::string(strerrorname_np(error)) + " x " +
                   std::to_string(times));
      faults_.Fail(SYS_accept4, error, /*first=*/1, times);
      Hold(*server, 1);
    }
  }
  const double seconds =
      absl::ToDoubleSeconds(absl::FromChrono(net::Now() - start));
  EXPECT_EQ(faults_.failed(SYS_accept4), 12 * 11);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, 24u);
  const size_t events = EventsOf(report.log, "accept-failed").size();
  EXPECT_GE(events, 1u);
  EXPECT_LE(events, 1 + static_cast<size_t>(seconds))
      << "more than one line a second";
}

TEST_P(AcceptFaultsTest, ClosesADeadListenerAndServesTheOthers) {
  for (int error : {EBADF, EINVAL}) {
    SCOPED_TRACE(strerrorname_np(error));
    FaultInjector faults({SYS_accept4});
    TestServer::Setup setup;
    setup.options.listen = {"127.0.0.1:0", "127.0.0.1:0"};
    setup.before = [&] { faults.Install(); };
    const auto server = StartServer(std::move(setup));
    faults.Fail(SYS_accept4, error);
    ExpectUnlucky(server->endpoint(0));
    const auto closed = server->AwaitEvent("listener-closed");
    ASSERT_THAT(closed, IsOk());
    EXPECT_EQ(closed->Text("brood.listener"), server->endpoint(0).ToString());
    EXPECT_THAT(TestClient::Connect(server->endpoint(0)),
                StatusIs(absl::StatusCode::kUnavailable))
        << "still listening";
    {
      auto lucky = TestClient::Connect(server->endpoint(1));
      ASSERT_THAT(lucky, IsOk());
      EXPECT_THAT(lucky->Echo("still here"), IsOk());
    }
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
  }
}

TEST_P(AcceptFaultsTest, LetsConnectionsFinishAndFailsWithoutAListener) {
  TestServer::Setup setup;
  setup.options.pool.workers = 20;
  const auto server = StartFaulty(std::move(setup));
  std::vector<TestClient> live = Hold(*server, 16);
  faults_.FailAlways(SYS_accept4, EBADF);
  const absl::Duration busy_before = CpuTimeOf(server->pid());
  const int64_t accepts_before = accepts();
  const net::Instant start = net::Now();
  ExpectUnlucky(server->endpoint());
  EXPECT_THAT(server->AwaitEvent("listener-closed"), IsOk());
  EXPECT_LT(absl::FromChrono(net::Now() - start), absl::Seconds(1))
      << "100 ms, but for load";
  for (TestClient& client : live) {
    EXPECT_THAT(client.Echo("not yet done"), IsOk());
  }
  EXPECT_LT(CpuTimeOf(server->pid()) - busy_before, absl::Milliseconds(50));
  EXPECT_EQ(accepts() - accepts_before, 1) << "the server tried again";
  live.clear();
  const TestServer::Report report = server->AwaitExit();
  EXPECT_EQ(report.exit_status.code(),
            static_cast<int>(server::ExitCode::kSystemRefused));
  EXPECT_THAT(report.run_status, HasSubstr("every listener is dead"));
  EXPECT_TRUE(report.complete && report.balanced);
  EXPECT_THAT(report.leaks, IsEmpty());
  EXPECT_EQ(report.totals.accepted, 16u);
  EXPECT_EQ(report.totals.ended_ok, 16u);
  EXPECT_EQ(report.totals.running, 0u);
}

// The clients are in the queue and have reset their connections when the server
// accepts them; accept() of Linux returns such connections all the same.
TEST_P(AcceptFaultsTest, CountsClientsThatResetBeforeTheyAreAccepted) {
  constexpr int kBatches = 4, kInBatch = 250 / kCostOfFork;
  constexpr int kClients = kBatches * (kInBatch + 1);
  const auto server = StartFaulty();
  for (int batch = 0; batch < kBatches; ++batch) {
    Freeze(server->pid());
    for (int i = 0; i < kInBatch; ++i) ConnectTo(*server).Reset();
    server->Signal(SIGCONT);
    EXPECT_THAT(ConnectTo(*server).Echo("behind them"), IsOk());
    // The pipe of the log has no room for the events of all batches.
    ASSERT_THAT(server->AwaitEvents(kInBatch + 1, "ended"), IsOk());
  }
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.accepted, uint64_t{kClients});
  EXPECT_EQ(report.totals.ended_ok + report.totals.ended_error,
            uint64_t{kClients});
  EXPECT_EQ(report.log_lines_dropped, 0u);
  // Every event has an address, and no address is empty.
  for (const std::vector<LoggedEvent>& events :
       {ServingEvents(report.log), EventsOf(report.log, "handling"),
        EventsOf(report.log, "ended")}) {
    EXPECT_THAT(events, SizeIs(kClients));
    for (const LoggedEvent& event : events) {
      EXPECT_EQ(event.Text("client.address"), "127.0.0.1") << event;
      EXPECT_GT(event.Number("client.port"), 0) << event;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(With, AcceptFaultsTest, EachStrategy(),
                         StrategyName());

}  // namespace
}  // namespace brood::testing
