// SPDX-License-Identifier: Apache-2.0

// A server that may open few descriptors (O21): accept always has enough of
// them, no process spins, and children have the limit that the program was
// started with.
//
// Related cases that are tried here: a limit that is too low from
// the start, that is lowered by prlimit() while the server runs, or that the
// embedder reaches by opening descriptors after Create(); spares that multiply
// beyond it; PollableFd(), whose descriptors are opened late; a hard limit that
// is as low as the soft one; a limit that is exactly the budget.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/prepare_process.h"
#include "brood/server/process/descriptor_budget.h"
#include "brood/server/strategy_kind.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using ::testing::IsEmpty;
using ::testing::SizeIs;

void Limit(rlim_t soft, rlim_t hard) {
  const rlimit limit = {soft, hard};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

// Returns the lowest free descriptor of this process. With this limit it can
// open no other.
int LowestFree() {
  const int lowest = dup(STDERR_FILENO);
  close(lowest);
  return lowest;
}

class DescriptorsTest : public StrategyTest {
 protected:
  // Returns a setup with far more waiting processes than a small limit has room
  // for.
  static TestServer::Setup Greedy() {
    TestServer::Setup setup;
    setup.options.max_connections = 200;
    setup.options.pool.workers = 100;
    setup.options.spares.min = 100;
    setup.options.spares.max = 200;
    return setup;
  }

  // Reports whether processes are forked ahead, each with two descriptors.
  static bool HasWorkers() {
    return row().strategy == server::StrategyKind::kPool ||
           row().strategy == server::StrategyKind::kSpares;
  }

  // Expects that `clients` clients at once are served, more than there are
  // workers, and that the idle server uses no processor.
  void ExpectServes(TestServer& server, int clients) {
    std::vector<TestClient> held = ConnectMany(server, clients);
    for (TestClient& client : held) {
      EXPECT_THAT(client.Echo("held"), IsOk()) << server.log();
    }
    const absl::Duration busy = CpuTimeOf(server.pid());
    LetPass(absl::Seconds(1));
    EXPECT_LT(CpuTimeOf(server.pid()) - busy, absl::Milliseconds(50))
        << "the server spins";
  }
};

INSTANTIATE_TEST_SUITE_P(With, DescriptorsTest, EachStrategy(), StrategyName());

TEST_P(DescriptorsTest, ServesWithFarTooFewForItsWorkers) {
  for (const int more : {20, 30, 41}) {
    SCOPED_TRACE(more);
    TestServer::Setup setup = Greedy();
    setup.before = [more] {
      const auto limit = static_cast<rlim_t>(LowestFree() + more);
      Limit(limit, limit);
    };
    const auto server = StartServer(std::move(setup));
    ExpectServes(*server, 50);
    const TestServer::Report report = StopAndExpectClean(*server);
    EXPECT_EQ(report.totals.ended_ok, 50u);
    EXPECT_EQ(report.totals.fork_failed, 0u);
    EXPECT_THAT(EventsOf(report.log, "accept-paused"), IsEmpty());
    EXPECT_THAT(EventsOf(report.log, "descriptors-short"),
                SizeIs(HasWorkers() || more == 20 ? 1 : 0));
    EXPECT_THAT(EventsOf(report.log, "prefork-failed"),
                SizeIs(HasWorkers() ? 1 : 0));
  }
}

TEST_P(DescriptorsTest, NeedsNoMoreThanItsBudget) {
  TestServer::Setup setup = Greedy();
  setup.options.strategy = row().strategy;
  setup.options.pool.workers = 20;
  setup.options.spares.min = 8;
  setup.options.spares.max = 8;
  const size_t clients =
      row().strategy == server::StrategyKind::kPool ? 20 : 30;
  const server::Options options = setup.options;
  setup.before = [options] {
    const size_t budget =
        server::DescriptorBudget::For(options, server::CountOpenDescriptors())
            .total();
    // The budget counts open descriptors, and some numbers below may be free.
    const auto above = static_cast<rlim_t>(DescriptorsOf("self").back() + 1) -
                       server::CountOpenDescriptors();
    Limit(budget + above, budget + above);
  };
  const auto server = StartServer(std::move(setup));
  ExpectRest(*server);
  std::vector<TestClient> held =
      ConnectMany(*server, static_cast<int>(clients));
  for (TestClient& client : held) EXPECT_THAT(client.Echo("held"), IsOk());
  held.clear();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_THAT(EventsOf(report.log, "descriptors-short"), IsEmpty());
  EXPECT_THAT(EventsOf(report.log, "prefork-failed"), IsEmpty());
  EXPECT_THAT(EventsOf(report.log, "accept-paused"), IsEmpty());
}

TEST_P(DescriptorsTest, ReleasesDescriptorsWhenTheEmbedderTakesTheRest) {
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
  GTEST_SKIP() << "the sanitizer needs descriptors to look at memory";
#endif
  TestServer::Setup setup;
  setup.options.pool.workers = 10;
  setup.options.spares.min = 10;
  std::vector<int> taken;
  setup.run = [&taken](server::TcpServer& server) {
    // All workers exist before the embedder takes the other descriptors.
    while (server.totals().accepted == 0) {
      const auto goes_on = server.Step(absl::Milliseconds(100));
      if (!goes_on.ok() || !*goes_on) return goes_on.status();
    }
    Limit(static_cast<rlim_t>(DescriptorsOf("self").back() + 1), 1000);
    int fd;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
      taken.push_back(fd);
    }
    // A strategy without workers has none to give up: here the embedder closes
    // one descriptor, which must be enough.
    if (row().strategy != server::StrategyKind::kPool &&
        row().strategy != server::StrategyKind::kSpares && !taken.empty()) {
      close(taken.back());
      taken.pop_back();
    }
    const absl::Status stopped = server.Run();
    for (const int each : taken) close(each);
    return stopped;
  };
  setup.before = [] { Limit(1000, 1000); };
  const auto server = StartServer(std::move(setup));
  ExpectRest(*server);
  ASSERT_THAT(ConnectTo(*server).Echo("first"), IsOk());
  for (int i = 0; i < 20; ++i) {
    ASSERT_THAT(ConnectTo(*server).Echo("more"), IsOk()) << server->log();
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 21u);
}

TEST_P(DescriptorsTest, ServesWhenTheLimitIsLoweredWhileItRuns) {
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
  GTEST_SKIP() << "the sanitizer needs descriptors to look at memory";
#endif
  TestServer::Setup setup;
  setup.options.pool.workers = 10;
  setup.options.spares.min = 10;
  const auto server = StartServer(std::move(setup));
  ExpectRest(*server);
  if (!HasWorkers()) {
    // A strategy without workers needs one descriptor, and can release none.
    const auto limit = static_cast<rlim_t>(
        DescriptorsOf(std::to_string(server->pid())).back() + 2);
    const rlimit tight = {limit, limit};
    ASSERT_EQ(prlimit(server->pid(), RLIMIT_NOFILE, &tight, nullptr), 0);
  } else {
    const std::vector<int> open = DescriptorsOf(std::to_string(server->pid()));
    int lowest = 0;
    while (std::count(open.begin(), open.end(), lowest) > 0) ++lowest;
    const auto limit = static_cast<rlim_t>(lowest);
    const rlimit tight = {limit, limit};
    ASSERT_EQ(prlimit(server->pid(), RLIMIT_NOFILE, &tight, nullptr), 0);
  }
  for (int i = 0; i < 20; ++i) {
    ASSERT_THAT(ConnectTo(*server).Echo("more"), IsOk()) << server->log();
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 20u);
}

TEST_P(DescriptorsTest, HasRoomForWhatIsOpenedLate) {
  TestServer::Setup setup = Greedy();
  setup.before = [] {
    const auto limit = static_cast<rlim_t>(LowestFree() + 41);
    Limit(limit, limit);
  };
  setup.run = [](server::TcpServer& server) {
    while (server.totals().accepted == 0) {
      const auto goes_on = server.Step(absl::Milliseconds(100));
      if (!goes_on.ok() || !*goes_on) return goes_on.status();
    }
    const absl::Status late = server.PollableFd().status();
    return late.ok() ? server.Run() : late;
  };
  const auto server = StartServer(std::move(setup));
  ExpectServes(*server, 30);
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 30u);
}

// Sends the limits of the process, and the number of the connection.
ExitCode ReplyWithLimits(net::Connection& connection) {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  return Reply(connection, absl::StrCat(limit.rlim_cur, " ", limit.rlim_max));
}

TEST_P(DescriptorsTest, GivesChildrenTheLimitBeforeItWasRaised) {
  TestServer::Setup setup;
  setup.options.pool.workers = 2;
  setup.handler = ReplyWithLimits;
  setup.before = [] {
    Limit(100, 1000);
    server::ProcessOptions process;
    process.descriptors = server::ProcessOptions::kUpToHardLimit;
    EXPECT_THAT(server::PrepareProcess(process), IsOk());
  };
  const auto server = StartServer(std::move(setup));
  rlimit own;
  ASSERT_EQ(prlimit(server->pid(), RLIMIT_NOFILE, nullptr, &own), 0);
  EXPECT_EQ(own.rlim_cur, 1000u);
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("100 1000"));
  }
  EXPECT_THAT(server->AwaitEvent("inherited", {{"brood.inherited",
                                                "descriptors 100 -> 1000"}}),
              IsOk());
  StopAndExpectClean(*server);
}

TEST_P(DescriptorsTest, LeavesTheLimitOfAnEmbedderAlone) {
  TestServer::Setup setup;
  setup.handler = ReplyWithLimits;
  setup.before = [] { Limit(100, 1000); };
  const auto server = StartServer(std::move(setup));
  rlimit own;
  ASSERT_EQ(prlimit(server->pid(), RLIMIT_NOFILE, nullptr, &own), 0);
  EXPECT_EQ(own.rlim_cur, 100u);
  EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("100 1000"));
  EXPECT_THAT(EventsOf(StopAndExpectClean(*server).log, "inherited"),
              IsEmpty());
}

}  // namespace
}  // namespace brood::testing
