// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/attacks/taken_over_child.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "brood/server/handler.h"
#include "brood/server/totals.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/support/observe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

// A variable of this program, which every child has at the same address.
volatile int variable = 4711;

class TakenOverChildTest : public AttackTest {};

INSTANTIATE_TEST_SUITE_P(With, TakenOverChildTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

TEST_P(TakenOverChildTest, ExecutesSystemCallsAndAccessesMemory) {
  const auto server = StartVictim("none");
  TakenOverChild child = TakeOver(*server);
  EXPECT_THAT(server->children(), Contains(child.pid()));
  EXPECT_EQ(child.Syscall(SYS_getppid).value, server->pid());
  EXPECT_EQ(child.Syscall(SYS_close, 4711).error, EBADF);
  EXPECT_EQ(child.Repeat(5, SYS_getpid).value, 5);
  EXPECT_EQ(child.SyscallInChild(SYS_getpid).value, 0);
  EXPECT_EQ(child.SyscallInChild(SYS_close, 4711).error, EBADF);

  const auto address = reinterpret_cast<uint64_t>(&variable);
  EXPECT_EQ(child.GetValue<int>(address), 4711);
  const int other = 4712;
  EXPECT_TRUE(child
                  .Write(address,
                         {reinterpret_cast<const char*>(&other), sizeof(other)})
                  .ok());
  EXPECT_EQ(child.GetValue<int>(address), 4712);
  EXPECT_EQ(variable, 4711);
  EXPECT_EQ(child.Get(8, 8), "");
  EXPECT_THAT(child.ReadFile("/proc/self/status"),
              HasSubstr(absl::StrCat("Pid:\t", child.pid())));

  // None of this needs privileges, which the server does not have.
  EXPECT_FALSE(child.Syscall(SYS_chroot, child.Put("/")).ok());
  child.Return();
  ExpectHarmless(*server);
}

TEST_P(TakenOverChildTest, LeavesProcessesBehind) {
  const auto server = StartVictim("none, with an orphan");
  TakenOverChild child = TakeOver(*server);
  const pid_t first = child.pid();
  EXPECT_TRUE(child.CloneAndExit(SIGCHLD, 3).ok());
  EXPECT_TRUE(child.CloneAndWait(SIGCHLD).ok());
  EXPECT_TRUE(child.ForkAndExit(0).ok());
  EXPECT_NE(child.pid(), first);
  EXPECT_EQ(child.Syscall(SYS_getpid).value, child.pid());
  EXPECT_EQ(ServeClients(*server, 3), 3);
  ExpectHarmless(*server);
}

TEST_P(TakenOverChildTest, ReportsThatTheChildIsGone) {
  const auto server = StartVictim("none, with an exit");
  TakenOverChild child = TakeOver(*server);
  const pid_t pid = child.pid();
  child.Exit(7);
  EXPECT_EQ(child.Syscall(SYS_getpid).error, TakenOverChild::kGone);
  EXPECT_TRUE(Await([&] { return kill(pid, 0) != 0; }));
  EXPECT_EQ(ExpectHarmless(*server).totals.ended_error, 1u);
}

}  // namespace
}  // namespace brood::testing
