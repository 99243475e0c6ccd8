// SPDX-License-Identifier: Apache-2.0

// Whatever number of signals arrives, of whatever kind: every client is served,
// every end of a child is noticed, and a request to stop is obeyed.

#include <sys/resource.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/server/options.h"
#include "brood/server/totals.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "brood/testing/support/shared.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class SignalStormTest : public StrategyTest {
 protected:
  static TestServer::Setup StormSetup() {
    TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
    setup.options.pool.workers = 4;
    return setup;
  }

  // Returns the signals in the line `field` of `status`, a bit for each.
  static uint64_t SignalsIn(const std::string& status,
                            const std::string& field) {
    const size_t line = status.find(field);
    uint64_t signals = 0;
    if (line == std::string::npos ||
        !absl::SimpleHexAtoi(status.substr(line + field.size(), 16),
                             &signals)) {
      ADD_FAILURE() << "no " << field << " in " << status;
    }
    return signals;
  }

  // Returns the real-time signal by which the kernel reports exits to `server`:
  // the one that it blocks and handles. (While it forks, it blocks all.)
  static int ExitSignalOf(const TestServer& server) {
    const std::string status =
        ReadProcFile(absl::StrCat("/proc/", server.pid(), "/status"));
    const uint64_t exits =
        SignalsIn(status, "SigBlk:\t") & SignalsIn(status, "SigCgt:\t");
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
      if ((exits >> (signal - 1) & 1) != 0) return signal;
    }
    ADD_FAILURE()
        << "the server has no real-time signal that it blocks and handles";
    return 0;
  }
};

// Signals that the server uses (forged: any process of its user may send them),
// that it leaves alone, and that the embedder handles.
TEST_P(SignalStormTest, ServesEachClientDuringAHundredThousandSignals) {
  constexpr int kSignals = 100'000;
  static Shared<std::atomic<int>>* handled;
  Shared<std::atomic<int>> runs;
  handled = &runs;
  TestServer::Setup setup = StormSetup();
  setup.before = [] {
    struct sigaction action = {};
    action.sa_handler = [](int) { ++**handled; };  // without SA_RESTART
    for (int signal : {SIGUSR1, SIGHUP, SIGUSR2}) {
      sigaction(signal, &action, nullptr);
    }
    // Forged signals leave no room in the queue for the true ones.
    const rlimit few = {16, 16};
    setrlimit(RLIMIT_SIGPENDING, &few);
  };
  const auto server = StartServer(std::move(setup));
  const std::array<int, 5> signals = {SIGHUP, SIGUSR2, SIGCHLD, SIGUSR1,
                                      ExitSignalOf(*server)};
  std::atomic<int> sent{0};
  std::thread storm([&] {
    for (; sent < kSignals; ++sent) {
      // A signal that does not fit into the queue counts as sent.
      sigval value = {};
      sigqueue(server->pid(),
               signals[static_cast<size_t>(sent) % signals.size()], value);
    }
  });
  uint64_t served = 0;
  while (sent < kSignals || served < 100) {
    TestClient client = ConnectTo(*server);
    EXPECT_THAT(client.Echo("hello"), IsOk());
    client.Close();
    ++served;
  }
  storm.join();
  RecordProperty("served", static_cast<int>(served));
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.ended_ok, served);
  EXPECT_GT(*runs, 0);
}

// A signal between the loop's check for work and its sleep must wake it.
// Otherwise the loop would not see it before another signal comes.
TEST_P(SignalStormTest, NeverOverlooksARequestToStop) {
  constexpr int kRuns = 200 / kCostOfFork;
  constexpr int kSignals = 50;
  std::minstd_rand random(16);
  absl::Duration slowest = absl::ZeroDuration();
  for (int run = 0; run < kRuns && !HasFailure(); ++run) {
    TestServer::Setup setup = StormSetup();
    setup.options.upgrade.command = {"/bin/false"};  // so SIGHUP is used
    setup.options.log.level = server::LogLevel::kOff;
    const auto server = StartServer(std::move(setup));
    TestClient client = ConnectTo(*server);
    EXPECT_THAT(client.Echo("hello"), IsOk());
    client.Close();
    for (int i = 0; i < kSignals; ++i) {
      kill(server->pid(), i % 2 == 0 ? SIGHUP : SIGCHLD);
    }
    LetPass(absl::Microseconds(random() % 300));
    const net::Instant start = net::Now();
    StopAndExpectClean(*server);
    slowest = std::max(slowest, absl::FromChrono(net::Now() - start));
  }
  // 100 ms, but for load. An overlooked request would never be obeyed.
  EXPECT_LT(slowest, absl::Seconds(1));
  RecordProperty("slowest_stop_us",
                 static_cast<int>(absl::ToInt64Microseconds(slowest)));
}

INSTANTIATE_TEST_SUITE_P(With, SignalStormTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
