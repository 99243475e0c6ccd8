// SPDX-License-Identifier: Apache-2.0

// Each call that the parent makes while it serves and stops fails permanently,
// in each strategy (K5). A connected client is still served, the parent does
// not use the processor without a pause, and a stop ends.
//
// A run without a fault finds the sites; syscall_faults_test has the other
// tests of them. With BROOD_FAULT_SITES=TEXT only sites whose names contain the
// text are tested.

#include <sys/types.h>
#include <time.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/base/config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/subreaper.h"
#include "brood/testing/syscalls/syscall_errors.h"
#include "brood/testing/syscalls/syscall_table.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

constexpr absl::Duration kGrace = absl::Milliseconds(300);
// The share of a processor that the parent may use during `kWindow`.
constexpr double kShare = 0.05;
constexpr absl::Duration kWindow = absl::Milliseconds(400);
// A stop ends within the grace plus 200 ms; the limit of the test is longer,
// for a busy machine.
constexpr absl::Duration kBusyMachine = absl::Milliseconds(1500);

// Returns how much processor time the process has used.
absl::Duration ProcessorTimeOf(pid_t pid) {
  clockid_t clock;
  timespec used = {};
  if (clock_getcpuclockid(pid, &clock) != 0) return absl::ZeroDuration();
  clock_gettime(clock, &used);
  return absl::DurationFromTimespec(used);
}

class EssentialCallsTest : public StrategyTest {
 protected:
  TestServer::Setup MakeSetup() {
    TestServer::Setup setup;
    setup.options.drain_grace = kGrace;
    setup.options.deadlines.idle = absl::Seconds(60);
    setup.options.pool.workers = 3;
    setup.options.spares.min = 2;
    setup.options.spares.max = 3;
    setup.may_leave_traces = true;
    setup.before = [this] { table_.Arm(); };
    return setup;
  }

  // Returns the calls that the parent makes from the first served client on.
  std::map<std::string, std::string> FindCalls();
  // Makes the call at `site` fail permanently with `error` while a server
  // serves.
  void FailForGood(const std::string& site, int error);

  SyscallTable table_{{"brood::net", "brood::proc", "brood::server"}};
  const Subreaper subreaper_;
};

INSTANTIATE_TEST_SUITE_P(With, EssentialCallsTest, EachStrategy(),
                         StrategyName());

std::map<std::string, std::string> EssentialCallsTest::FindCalls() {
  table_.Reset();
  auto server = StartServer(MakeSetup());
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  std::map<std::string, int64_t> before;
  for (const auto& site : table_.sites()) {
    before[site.name] = table_.calls(site.name);
  }
  TestClient staying = ConnectTo(*server);
  EXPECT_THAT(staying.Echo("hello"), IsOk());
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  }
  server->Stop();
  std::map<std::string, std::string> run;
  for (const auto& site : table_.sites()) {
    if (table_.calls(site.name) == before[site.name]) continue;
    const int64_t number = table_.number(site.name);
    run[site.name] = number < 0 ? site.call : NameOfSyscall(number);
  }
  return run;
}

void EssentialCallsTest::FailForGood(const std::string& site, int error) {
  SCOPED_TRACE(absl::StrCat(site, ": ", strerrorname_np(error)));
  table_.Reset();
  auto server = StartServer(MakeSetup());
  TestClient staying = ConnectTo(*server);
  ASSERT_THAT(staying.Echo("hello"), IsOk());
  table_.FailAlways(site, error);
  for (int i = 0; i < 3; ++i) {
    auto client =
        TestClient::Connect(server->endpoint(), absl::Milliseconds(60));
    if (client.ok()) client->Echo("hello").IgnoreError();
  }
  EXPECT_THAT(staying.Echo("hello"), IsOk());
  const absl::Duration used = ProcessorTimeOf(server->pid());
  const net::Instant start = net::Now();
  absl::SleepFor(kWindow);  // the test checks the share of this time
  const double share = absl::FDivDuration(ProcessorTimeOf(server->pid()) - used,
                                          absl::FromChrono(net::Now() - start));
  EXPECT_LT(share, kShare);
  EXPECT_THAT(staying.Echo("hello"), IsOk());
  const net::Instant asked = net::Now();
  const TestServer::Report report = server->Stop();
  const absl::Duration taken = absl::FromChrono(net::Now() - asked);
  EXPECT_LT(taken, kGrace + absl::Milliseconds(200) + kBusyMachine);
  EXPECT_TRUE(report.exit_status.exited()) << report.exit_status.ToString();
  std::cout << site << " " << strerrorname_np(error) << ": "
            << static_cast<int>(share * 1000) / 10.0 << " %, stop "
            << absl::FormatDuration(absl::Floor(taken, absl::Milliseconds(1)))
            << std::endl;
}

TEST_P(EssentialCallsTest, ServesAndStopsAfterEachPermanentFailure) {
#if defined(__OPTIMIZE__) || defined(ABSL_HAVE_ADDRESS_SANITIZER)
  GTEST_SKIP() << "with an optimizer the sites differ from the source";
#endif
  const char* const chosen = std::getenv("BROOD_FAULT_SITES");
  for (const auto& [site, call] : FindCalls()) {
    if (chosen != nullptr && !absl::StrContains(site, chosen)) continue;
    for (const SyscallError& error : ErrorsOf(call)) {
      if (error.passes) continue;
      FailForGood(site, error.error);
      break;
    }
  }
}

}  // namespace
}  // namespace brood::testing
