// SPDX-License-Identifier: Apache-2.0
//
// O23. When accept keeps failing, because of a policy: the server rests, serves
// its other listeners, and accepts as soon as that is allowed.

#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/listener.h"
#include "brood/testing/fault_injector.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using net::AcceptVerdict;
using ::testing::IsEmpty;
using ::testing::Not;

using AcceptRefusedTest = StrategyTest;

// The number of failures in a row after which a listener rests.
constexpr int kMostFailures = 64;

INSTANTIATE_TEST_SUITE_P(With, AcceptRefusedTest, EachStrategy(),
                         StrategyName());

// Tries each error that does not end a listener: that of a policy (EPERM,
// EACCES, ENOSYS), of a network that is down, of a machine that is out of a
// resource.
TEST_P(AcceptRefusedTest, RestsWhileAcceptFailsAndGoesOnByItself) {
  if (!FaultInjector::Supported().ok()) GTEST_SKIP();
  FaultInjector faults({SYS_accept4});
  TestServer::Setup setup;
  setup.before = [&] { faults.Install(); };
  const auto server = StartServer(std::move(setup));
  uint64_t served = 0;
  for (const net::AcceptError& each : net::AcceptErrors()) {
    const bool repeats = each.verdict == AcceptVerdict::kTryNext;
    if (!repeats && each.verdict != AcceptVerdict::kPause) continue;
    SCOPED_TRACE(strerrorname_np(each.error));
    AwaitIdle(server->pid());  // it has checked that no other client waits
    faults.FailAlways(SYS_accept4, each.error);
    const int64_t first = faults.calls(SYS_accept4);
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Send("request"), IsOk());
    ASSERT_THAT(
        faults.AwaitCalls(SYS_accept4, first + (repeats ? kMostFailures : 1)),
        IsOk());
    // The claim is about a time. The pauses begin with 10 ms and double.
    const int64_t before = faults.calls(SYS_accept4);
    const absl::Duration busy_before = CpuTimeOf(server->pid());
    LetPass(absl::Milliseconds(300));
    EXPECT_LE(faults.calls(SYS_accept4) - before, 8);
    EXPECT_LT(CpuTimeOf(server->pid()) - busy_before, absl::Milliseconds(60));
    faults.Relieve(SYS_accept4);
    EXPECT_THAT(client.ExpectReply("request"), IsOk());
    ++served;
  }
  EXPECT_GE(served, 20u);
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, served);
  EXPECT_THAT(EventsOf(report.log, "accept-paused"), Not(IsEmpty()));
  EXPECT_LE(EventsOf(report.log, "accept-paused").size(), 2 * served)
      << "more than two for each error";
}

TEST_P(AcceptRefusedTest, StopsWithoutSpinning) {
  for (const int error : {EPERM, ENOSYS}) {
    TestServer::Setup setup;
    setup.options.drain_grace = absl::Milliseconds(300);
    setup.before = [error] { RefuseCalls({SYS_accept4}, error); };
    const auto server = StartServer(std::move(setup));
    const TestClient queued = ConnectTo(*server);
    ASSERT_THAT(server->AwaitEvent("accept-paused"), IsOk());
    const absl::Duration busy_before = CpuTimeOf(server->pid());
    server->Signal(SIGTERM);
    ASSERT_THAT(server->AwaitEvent("left-in-queue"), IsOk());
    EXPECT_LT(CpuTimeOf(server->pid()) - busy_before, absl::Milliseconds(100));
    const TestServer::Report report = server->AwaitExit();
    EXPECT_TRUE(report.complete && report.balanced);
    EXPECT_THAT(report.leaks, IsEmpty());
    EXPECT_EQ(report.totals.accepted, 0u);
  }
}

TEST_P(AcceptRefusedTest, DelaysNoOtherListener) {
  for (const int error : {EPERM, EACCES, ECONNABORTED}) {
    const net::Listener forbidden = *net::Listener::Listen(
        *net::Endpoint::Parse("127.0.0.1:0"), net::kFullBacklog);
    TestServer::Setup setup;
    setup.given = {forbidden.fd()};
    setup.options.drain_grace = absl::Milliseconds(300);
    setup.options.listen = {absl::StrCat("fd:", forbidden.fd()), "127.0.0.1:0"};
    setup.before = [&] {
      RefuseArgument({SYS_accept4, 0, ~0U,
                      static_cast<uint32_t>(forbidden.fd()), true, error});
    };
    const auto server = StartServer(std::move(setup));
    const TestClient unlucky = *TestClient::Connect(server->endpoint(0));
    ASSERT_THAT(server->AwaitEvent("accept-paused"), IsOk());
    std::vector<absl::Duration> waits;
    for (int i = 0; i < 20; ++i) {
      const net::Instant start = net::Now();
      TestClient lucky = *TestClient::Connect(server->endpoint(1));
      EXPECT_THAT(lucky.Echo("hello"), IsOk());
      waits.push_back(absl::FromChrono(net::Now() - start));
    }
    std::sort(waits.begin(), waits.end());
    EXPECT_LT(waits[waits.size() / 2], absl::Milliseconds(75))
        << "a pause has 150";
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 20u);
  }
}

}  // namespace
}  // namespace brood::testing
