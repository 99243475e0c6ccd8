// SPDX-License-Identifier: Apache-2.0
//
// A server on machines that refuse to create processes in the usual way (row
// O18): it serves, notices each end within a limit and logs how it creates
// children, or it does not start. //proc:spawn_fallbacks_test lists the kinds
// of such machines, and tries each with the spawner alone. Here each is tried
// with every strategy, with and without owns_all_children. Also: machines on
// which no process can be created, ever or for a moment, and what the first
// child must not do.

#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/server/strategy_kind.h"
#include "brood/server/totals.h"
#include "brood/testing/fault_injector.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/refuse_calls.h"
#include "brood/testing/support/shared.h"
#include "brood/testing/test_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::StrategyKind;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

void RefuseOtherExitSignals(int error) {
  RefuseArgument({SYS_clone, 0, CSIGNAL, SIGCHLD, false, error});
}
void RefuseSiblings(int error) {
  RefuseCalls({SYS_clone3}, ENOSYS);
  RefuseArgument({SYS_clone, 0, CLONE_PARENT, CLONE_PARENT, true, error});
}
void RefuseTidAddress() {
  RefuseArgument({SYS_prctl, 0, ~0U, PR_GET_TID_ADDRESS, true, EINVAL});
}

// A machine, how a server is to create children there, and whether a zygote
// works.
struct Machine {
  const char* name;
  std::function<void()> refuse;
  std::string way;
  bool has_siblings;
};

const std::vector<Machine>& Machines() {
  static const auto* const machines = new std::vector<Machine>{
      {"nothing is refused", [] {}, "", true},
      {"no clone3", [] { RefuseCalls({SYS_clone3}, ENOSYS); }, "clone", true},
      {"no CLONE_CLEAR_SIGHAND", [] { RefuseCalls({SYS_clone3}, EINVAL); },
       "clone", true},
      {"clone3 forbidden", [] { RefuseCalls({SYS_clone3}, EPERM); }, "clone",
       true},
      {"no other exit signal",
       [] {
         RefuseCalls({SYS_clone3}, ENOSYS);
         RefuseOtherExitSignals(EINVAL);
       },
       "clone with SIGCHLD", true},
      {"other exit signals forbidden",
       [] {
         RefuseCalls({SYS_clone3}, EPERM);
         RefuseOtherExitSignals(EPERM);
       },
       "clone with SIGCHLD", true},
      {"no PR_GET_TID_ADDRESS", RefuseTidAddress, "fork", false},
      {"no robust lists",
       [] {
         RefuseCalls({SYS_get_robust_list, SYS_set_robust_list}, ENOSYS);
       },
       "", true},
      {"get_robust_list forbidden",
       [] { RefuseCalls({SYS_get_robust_list}, EPERM); }, "", true},
      {"no CLONE_PARENT", [] { RefuseSiblings(EINVAL); }, "clone", false},
      {"CLONE_PARENT forbidden", [] { RefuseSiblings(EPERM); }, "clone", false},
      {"user-mode emulation",
       [] {
         RefuseSiblings(EINVAL);
         RefuseOtherExitSignals(EINVAL);
         RefuseTidAddress();
         RefuseCalls({SYS_get_robust_list, SYS_set_robust_list}, ENOSYS);
       },
       "fork", false},
  };
  return *machines;
}

class SpawnFallbacksTest : public StrategyTest {
 protected:
  // The server must log an end within this time; a sweep takes place every 50
  // ms.
  static constexpr absl::Duration kToNotice = absl::Seconds(2);

  // Returns the setup of a server on `machine`.
  static TestServer::Setup SetupOn(const Machine& machine) {
    TestServer::Setup setup;
    setup.options.strategy = row().strategy;
    setup.options.spares.min = 1;
    setup.options.pool.workers = 2;
    setup.before = machine.refuse;
    return setup;
  }
  // Returns the way in which the strategy creates children on `machine`.
  static std::string WayOn(const Machine& machine) {
    if (row().strategy != StrategyKind::kAuto || machine.has_siblings) {
      return machine.way;
    }
    return absl::StrCat(machine.way, ", without a zygote");
  }
  void ServeOn(TestServer& server);
};

void SpawnFallbacksTest::ServeOn(TestServer& server) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(ConnectTo(server).Echo("hello"), IsOk());
    EXPECT_THAT(server.AwaitEvent("ended", {{"brood.exit.code", 0}}, kToNotice),
                IsOk());
    AwaitServing(server, 1);
  }
  TestClient client = ConnectTo(server);
  EXPECT_THAT(client.Echo("hello"), IsOk());
  for (const pid_t pid : AwaitServing(server, 1)) kill(pid, SIGKILL);
  EXPECT_THAT(
      server.AwaitEvent("ended", {{"brood.exit.signal", SIGKILL}}, kToNotice),
      IsOk());
  EXPECT_THAT(client.ExpectEof(), IsOk());
}

TEST_P(SpawnFallbacksTest, ServesAndLogsHowItCreatesChildren) {
  for (const Machine& machine : Machines()) {
    if (row().strategy == StrategyKind::kZygote && !machine.has_siblings) {
      continue;
    }
    for (const bool owns_all_children : {false, true}) {
      SCOPED_TRACE(absl::StrCat(machine.name,
                                ", owns_all_children=", owns_all_children));
      TestServer::Setup setup = SetupOn(machine);
      setup.options.owns_all_children = owns_all_children;
      const auto server = StartServer(std::move(setup));
      ServeOn(*server);
      const TestServer::Report report = StopAndExpectClean(*server);
      EXPECT_EQ(report.totals.ended_ok, 3u);
      EXPECT_EQ(report.totals.crashed, 1u);
      const std::string way = WayOn(machine);
      EXPECT_THAT(EventsOf(report.log, "spawn-fallback"),
                  SizeIs(way.empty() ? 0 : 1));
      EXPECT_THAT(
          EventsOf(report.log, "spawn-fallback", {{"brood.spawn.way", way}}),
          SizeIs(way.empty() ? 0 : 1))
          << report.log;
      EXPECT_THAT(EventsOf(report.log, "rehearsal-failed"), IsEmpty());
    }
  }
}

TEST_P(SpawnFallbacksTest, RefusesAZygoteThatCannotWorkByName) {
  if (row().strategy != StrategyKind::kZygote) return;
  for (const Machine& machine : Machines()) {
    if (machine.has_siblings) continue;
    SCOPED_TRACE(machine.name);
    EXPECT_THAT(TestServer::Start(SetupOn(machine)),
                StatusIs(absl::StatusCode::kUnimplemented,
                         HasSubstr("strategy=zygote")));
  }
}

TEST_P(SpawnFallbacksTest, DoesNotServeWhereEveryProcessIsRefused) {
  for (const int error : {EPERM, ENOSYS, EINVAL}) {
    const auto server = TestServer::Start(
        SetupOn({"",
                 [error] {
                   RefuseCalls({SYS_clone3, SYS_clone}, error);
                 },
                 "", true}));
    if (!server.ok()) {
      EXPECT_THAT(server.status().message(), HasSubstr("clone"));
      continue;
    }
    const TestServer::Report report = (*server)->AwaitExit();
    EXPECT_THAT(report.run_status, HasSubstr("clone"));
    EXPECT_EQ(report.exit_status.code(), 111);
    EXPECT_THAT(EventsOf(report.log, "listening"), IsEmpty());
    EXPECT_THAT(report.leaks, IsEmpty());
  }
}

TEST_P(SpawnFallbacksTest, ServesInSpiteOfAShortageAtItsStart) {
  if (!FaultInjector::Supported().ok()) GTEST_SKIP();
  // The other strategies create a zygote first.
  if (!row().forks_itself || row().strategy == StrategyKind::kAuto) return;
  for (const int error : {EAGAIN, ENOMEM}) {
    FaultInjector faults({FaultInjector::kFork});
    faults.Fail(FaultInjector::kFork, error);
    TestServer::Setup setup = SetupOn(Machines()[0]);
    setup.before = [&] { faults.Install(); };
    const auto server = StartServer(std::move(setup));
    EXPECT_THAT(server->AwaitEvent("rehearsal-failed"), IsOk());
    ServeOn(*server);
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 3u);
    EXPECT_EQ(faults.failed(FaultInjector::kFork), 1);
  }
}

TEST_P(SpawnFallbacksTest, HasReapedTheFirstChildWhenItIsReady) {
  Shared<std::atomic<int>> prepared;
  TestServer::Setup setup = SetupOn(Machines()[0]);
  setup.options.prepare_child = [&] {
    ++*prepared;
    return absl::OkStatus();
  };
  const auto server = StartServer(std::move(setup));
  if (row().strategy == StrategyKind::kFork) {
    EXPECT_THAT(server->children(), IsEmpty());
  }
  ExpectRest(*server);
  if (row().made_after_accept) {
    EXPECT_EQ(*prepared, 0);
  }
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.accepted, 0u);
  EXPECT_EQ(totals.ended_ok, 0u);
}

INSTANTIATE_TEST_SUITE_P(With, SpawnFallbacksTest, EachStrategy(),
                         StrategyName());

}  // namespace
}  // namespace brood::testing
