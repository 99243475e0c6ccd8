// SPDX-License-Identifier: Apache-2.0

#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <functional>
#include <string>

#include "brood/proc/signal_state/signal_state.h"
#include "brood/proc/spawn.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/refuse_calls.h"
#include "brood/testing/support/spawner_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::RefuseCalls;
using ::brood::testing::SpawnerTest;
using ::testing::Not;

INSTANTIATE_TEST_SUITE_P(WithAndWithoutClone3, SpawnerTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Clone3" : "Clone";
                         });

// Returns a spawner whose children ignore SIGHUP, and SIGINT if this process
// does, which is so. SIGUSR1 has a handler here. Nothing else must be changed.
CloneSpawner SpawnerOfSameSignals() {
  for (int signal = 1; signal <= SIGRTMAX; ++signal) SetAction(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  SetAction(SIGHUP, SIG_IGN);
  SetAction(SIGINT, SIG_IGN);
  std::signal(SIGUSR1, [](int) {});
  ChildSettings settings;
  settings.ignored = {SIGHUP};
  settings.ignored_as_in_parent = {SIGINT};
  CloneSpawner spawner = *CloneSpawner::Create(SIGCHLD, settings);
  EXPECT_THAT(spawner.Prepare(), IsOk());
  return spawner;
}

std::string SignalsOfThisProcess() {
  std::ifstream status("/proc/self/status");
  std::string line, signals;
  while (std::getline(status, line)) {
    if (line.compare(0, 3, "Sig") == 0 && line[3] != 'Q')
      signals += line + "\n";
  }
  return signals;
}

constexpr char kAsInSettings[] =
    "SigPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n"
    "SigIgn:\t0000000000000003\nSigCgt:\t0000000000000000\n";

void ChangeMask(int how, int signal) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  sigprocmask(how, &one, nullptr);
}

TEST_P(SpawnerTest, GivesChildrenTheirSignalsWhateverThoseOfTheParentAre) {
  Apart([] {
    CloneSpawner spawner = SpawnerOfSameSignals();
    const auto expect_signals = [&](const char* difference) {
      ASSERT_THAT(spawner.Prepare(), IsOk());
      ExpectInChild(spawner, [&] {
        EXPECT_EQ(SignalsOfThisProcess(), kAsInSettings) << difference;
      });
    };
    // Between the differences there is none: each way follows the other one.
    expect_signals("none");
    SetAction(SIGHUP, SIG_DFL);
    expect_signals("a signal that only children ignore");
    SetAction(SIGHUP, SIG_IGN);
    expect_signals("none");
    SetAction(SIGRTMAX, SIG_IGN);
    expect_signals("a signal that only this process ignores");
    SetAction(SIGRTMAX, SIG_DFL);
    expect_signals("none");
    ChangeMask(SIG_BLOCK, SIGUSR2);
    expect_signals("a blocked signal");
    ChangeMask(SIG_UNBLOCK, SIGUSR2);
    expect_signals("none");
  });
}

// As in a zygote. A call that blocks signals would fail the spawn.
TEST_P(SpawnerTest, BlocksSignalsOnlyIfChildrenMustSetThem) {
  if (!GetParam()) return;  // without clone3, children reset each handler
  Apart([] {
    const CloneSpawner spawner = SpawnerOfSameSignals();
    RefuseCalls({SYS_rt_sigprocmask}, EPERM);
    EXPECT_EQ(Run(spawner, [] { return 0; }), 0);
  });
  Apart([] {
    CloneSpawner spawner = SpawnerOfSameSignals();
    SetAction(SIGHUP, SIG_DFL);
    ASSERT_THAT(spawner.Prepare(), IsOk());
    RefuseCalls({SYS_rt_sigprocmask}, EPERM);
    EXPECT_THAT(spawner.Spawn([] { return 0; }), Not(IsOk()));
  });
}

// The kernel stops to know clone3, as after a sandbox was entered.
TEST_P(SpawnerTest, FallsBackWithSignalsThatNeedNoChange) {
  Apart([] {
    const CloneSpawner spawner = SpawnerOfSameSignals();
    RefuseCalls({SYS_clone3}, ENOSYS);
    ExpectInChild(spawner,
                  [] { EXPECT_EQ(SignalsOfThisProcess(), kAsInSettings); });
    EXPECT_EQ(spawner.fallback().way, "clone");
    EXPECT_FALSE(BlocksAnySignal()) << "the mask of this process";
  });
}

}  // namespace
}  // namespace brood::proc
