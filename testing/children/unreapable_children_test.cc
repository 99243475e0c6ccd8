// SPDX-License-Identifier: Apache-2.0
//
// What a child that was taken over can do to the slots of the server and to its
// table of processes: let another process trace it, and create processes whose
// parent is the server.

#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/server/totals.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/tracing/tracer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

class UnreapableChildrenTest : public StrategyTest {
 protected:
  static constexpr int kCap = 4;

  static TestServer::Setup SmallSetup() {
    TestServer::Setup setup;
    setup.options.max_connections = kCap;
    setup.options.spares.min = 2;
    setup.options.spares.max = 2;
    setup.options.pool.workers = kCap;
    setup.options.drain_grace = absl::Milliseconds(100);
    return setup;
  }
  // Fills every slot with children that are dead and traced. Returns the
  // tracer.
  std::unique_ptr<Tracer> FillWithHeld(TestServer& server) {
    std::vector<TestClient> clients;
    for (int i = 0; i < kCap; ++i) {
      clients.push_back(ConnectTo(server));
      EXPECT_THAT(clients.back().Echo("hello"), IsOk());
    }
    const std::vector<pid_t> serving = AwaitServing(server, kCap);
    auto tracer = std::make_unique<Tracer>(serving);
    for (const pid_t pid : serving) kill(pid, SIGKILL);
    for (const pid_t pid : serving) Tracer::AwaitDeath(pid);
    return tracer;
  }
};

INSTANTIATE_TEST_SUITE_P(With, UnreapableChildrenTest, EachStrategy(),
                         StrategyName());

TEST_P(UnreapableChildrenTest, KeepNoSlotIfTheyAreDeadAndTraced) {
  const auto server = StartServer(SmallSetup());
  const std::unique_ptr<Tracer> tracer = FillWithHeld(*server);
  for (int i = 0; i < 2 * kCap; ++i) {
    EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk()) << i;
  }
  EXPECT_THAT(server->AwaitEvent("held-by-tracer"), IsOk());
  // The children are reaped when the tracer releases them.
  tracer->LetGo();
  EXPECT_TRUE(Await([&] { return server->zombies().empty(); }));
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.unknown, uint64_t{kCap});
  EXPECT_EQ(report.totals.ended_ok, 2u * kCap);
}

TEST_P(UnreapableChildrenTest, DelayNoStopIfTheyAreDeadAndTraced) {
  TestServer::Setup setup = SmallSetup();
  setup.may_leave_traces = true;
  const auto server = StartServer(std::move(setup));
  const std::unique_ptr<Tracer> tracer = FillWithHeld(*server);
  const absl::Time start = absl::Now();
  const TestServer::Report report = server->Stop();
  EXPECT_LT(absl::Now() - start, absl::Seconds(3));
  EXPECT_EQ(report.run_status, "OK");
  EXPECT_EQ(report.totals.unknown, uint64_t{kCap});
  EXPECT_EQ(report.totals.running, 0u);
  EXPECT_THAT(EventsOf(report.log, "held-by-tracer"),
              ::testing::Not(::testing::IsEmpty()));
}

// The server does not know these children.
TEST_P(UnreapableChildrenTest, AreReapedIfAHandlerCreatedThem) {
  constexpr int kSiblings = 200;
  for (const bool owns_all_children : {false, true}) {
    SCOPED_TRACE(owns_all_children);
    TestServer::Setup setup = SmallSetup();
    setup.options.owns_all_children = owns_all_children;
    setup.handler = [](net::Connection& connection) {
      for (int i = 0; i < kSiblings; ++i) {
        const long pid = syscall(SYS_clone, CLONE_PARENT, nullptr, nullptr,
                                 nullptr, nullptr);
        if (pid == 0) _exit(0);
        if (pid < 0) return ExitCode::kBug;
      }
      return Reply(connection, "done");
    };
    const auto server = StartServer(std::move(setup));
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("done"));
    // Waits until the last child has ended, which may take a while.
    ExpectRest(*server);
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
  }
}

}  // namespace
}  // namespace brood::testing
