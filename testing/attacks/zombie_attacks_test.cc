// SPDX-License-Identifier: Apache-2.0
//
// Attacks on the reaping of children: rows A7, A8 and F1. A child may be traced
// by another process or by the server, and may create children of the server.
// Its slot is free when it has ended, and a stop ends.

#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstdint>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/server/totals.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class ZombieAttacksTest : public AttackTest {
 protected:
  // Fills the cap with children, lets an orphan trace them by `request` of
  // ptrace, and ends them.
  void TraceByAnOrphan(int request, bool owns_all_children);
};

INSTANTIATE_TEST_SUITE_P(With, ZombieAttacksTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

constexpr int kCap = 8;

void ZombieAttacksTest::TraceByAnOrphan(int request, bool owns_all_children) {
  TestServer::Setup setup = AttackSetup();
  setup.options.max_connections = kCap;
  setup.options.pool.workers = kCap;
  setup.options.owns_all_children = owns_all_children;
  // PTRACE_ATTACH stops a child, so only the deadline ends it.
  setup.options.deadlines.connection = absl::Seconds(2);
  setup.may_leave_traces = true;
  AllowTracedZombies();
  const auto server = StartVictim(
      absl::StrCat("A7 ", request == PTRACE_SEIZE ? "PTRACE_SEIZE" : "ATTACH",
                   owns_all_children ? ", owns all" : ""),
      std::move(setup));
  TakenOverChild tracer = TakeOver(*server);
  EXPECT_TRUE(tracer.ForkAndExit(0).ok());
  std::vector<TakenOverChild> traced = TakeOverMany(*server, kCap);
  int traces = 0;
  for (TakenOverChild& child : traced) {
    // The child makes itself dumpable, so no setting of the server prevents
    // this.
    child.Syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    const pid_t pid = child.pid();
    if (tracer.Syscall(SYS_ptrace, request, pid, 0, 0).ok()) ++traces;
    child.client().Close();
  }
  std::cout << "A7: " << traces << " of " << kCap << " children traced\n";
  ExpectHarmless(*server);
}

TEST_P(ZombieAttacksTest, AreTracedByAnOrphan) {
  for (const bool owns_all_children : {false, true}) {
    TraceByAnOrphan(PTRACE_SEIZE, owns_all_children);
    TraceByAnOrphan(PTRACE_ATTACH, owns_all_children);
  }
}

// One traced child does not fill the cap, so the server finds it when it stops.
TEST_P(ZombieAttacksTest, AreTracedByAnOrphanWhenTheServerStops) {
  TestServer::Setup setup = AttackSetup();
  setup.may_leave_traces = true;
  AllowTracedZombies();
  const auto server = StartVictim("A7 one at a stop", std::move(setup));
  TakenOverChild tracer = TakeOver(*server);
  EXPECT_TRUE(tracer.ForkAndExit(0).ok());
  TakenOverChild traced = TakeOver(*server);
  traced.Syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
  const pid_t pid = traced.pid();
  EXPECT_TRUE(tracer.Syscall(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0).ok());
  ExpectHarmless(*server);
}

// A sanitizer makes each clone take longer.
constexpr int kClones = 200 / kCostOfFork;

// A child creates processes whose parent is the server process.
TEST_P(ZombieAttacksTest, AreUnknownChildrenOfTheServer) {
  for (const bool owns_all_children : {false, true}) {
    for (const uint64_t exit_signal :
         {uint64_t{SIGCHLD}, uint64_t{0}, uint64_t{SIGUSR1}, uint64_t{40}}) {
      TestServer::Setup setup = AttackSetup();
      setup.options.owns_all_children = owns_all_children;
      const auto server =
          StartVictim(absl::StrCat("A8 CLONE_PARENT, signal ", exit_signal,
                                   owns_all_children ? ", owns all" : ""),
                      std::move(setup));
      TakenOverChild child = TakeOver(*server);
      EXPECT_TRUE(child.CloneAndExit(CLONE_PARENT | exit_signal, kClones).ok());
      EXPECT_TRUE(
          Await([&] { return server->zombies().empty(); }, absl::Seconds(2)))
          << server->zombies().size() << " zombies";
      child.client().Close();
      // Now the server knows no child, except those that wait.
      TakenOverChild last = TakeOver(*server);
      EXPECT_TRUE(last.CloneAndExit(CLONE_PARENT | exit_signal, kClones).ok());
      last.Exit(0);
      EXPECT_TRUE(
          Await([&] { return server->zombies().empty(); }, absl::Seconds(2)))
          << server->zombies().size() << " zombies at rest";
      ExpectHarmless(*server);
    }
  }
}

// The kernel then reports each stop of the child to the parent.
TEST_P(ZombieAttacksTest, AskToBeTracedByTheServer) {
  for (const int signal : {SIGUSR1, SIGTRAP, SIGSTOP, SIGTERM, SIGSEGV}) {
    const auto server =
        StartVictim(absl::StrCat("F1 TRACEME, signal ", signal));
    std::vector<TakenOverChild> children = TakeOverMany(*server, 3);
    for (TakenOverChild& child : children) {
      child.Syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
      const pid_t pid = child.pid();
      // Does not wait for the answer, because the signal may stop the child.
      child.Flood(SYS_kill, pid, signal);
    }
    ExpectHarmless(*server);
  }
}

// An exec stops a traced process.
TEST_P(ZombieAttacksTest, AskToBeTracedAndExecute) {
  const auto server = StartVictim("F1 TRACEME, execve");
  TakenOverChild child = TakeOver(*server);
  child.Syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
  const uint64_t path = child.Put("/bin/true");
  const uint64_t arguments[] = {path, 0};
  child.Flood(SYS_execve, path, child.PutValue(arguments), 0);
  ExpectHarmless(*server);
}

}  // namespace
}  // namespace brood::testing
