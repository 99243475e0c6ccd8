// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/signal_state/signal_state.h"

#include <csignal>
#include <vector>

#include "brood/testing/leak_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Not;

using SignalStateTest = ::brood::testing::LeakCheck;

TEST_F(SignalStateTest, SetsAndReportsActions) {
  std::signal(SIGUSR2, [](int) {});
  for (const int signal : {SIGUSR1, SIGRTMAX}) {
    EXPECT_FALSE(IsIgnored(signal)) << signal;
    SetAction(signal, SIG_IGN);
    EXPECT_TRUE(IsIgnored(signal)) << signal;
    EXPECT_THAT(IgnoredSignals(),
                AllOf(Contains(signal), Not(Contains(SIGUSR2))));
    SetAction(signal, SIG_DFL);
    EXPECT_FALSE(IsIgnored(signal)) << signal;
  }
  std::signal(SIGUSR2, SIG_DFL);
}

// The calls of the C library refuse this signal. The program that starts this
// one may ignore it.
TEST_F(SignalStateTest, IncludesSignalsOfTheLibraryButInTheList) {
  constexpr int kOfTheLibrary = 33;
  const bool before = IsIgnored(kOfTheLibrary);
  SetAction(kOfTheLibrary, SIG_DFL);
  EXPECT_FALSE(IsIgnored(kOfTheLibrary));
  SetAction(kOfTheLibrary, SIG_IGN);
  EXPECT_TRUE(IsIgnored(kOfTheLibrary));
  EXPECT_THAT(IgnoredSignals(), Not(Contains(kOfTheLibrary)));
  SetAction(kOfTheLibrary, before ? SIG_IGN : SIG_DFL);
}

TEST_F(SignalStateTest, ListsIgnoredSignalsInOrder) {
  SetAction(SIGRTMAX, SIG_IGN);
  SetAction(SIGHUP, SIG_IGN);
  const std::vector<int> ignored = IgnoredSignals();
  EXPECT_EQ(ignored.front(), SIGHUP);
  EXPECT_EQ(ignored.back(), SIGRTMAX);
  SetAction(SIGRTMAX, SIG_DFL);
  SetAction(SIGHUP, SIG_DFL);
}

TEST_F(SignalStateTest, CannotChangeSigkill) {
  SetAction(SIGKILL, SIG_IGN);
  EXPECT_FALSE(IsIgnored(SIGKILL));
  EXPECT_FALSE(IsIgnored(0));
}

TEST_F(SignalStateTest, ReportsABlockedSignal) {
  sigset_t before, one;
  sigemptyset(&one);
  sigprocmask(SIG_SETMASK, &one, &before);
  EXPECT_FALSE(BlocksAnySignal());
  sigaddset(&one, SIGRTMAX);
  sigprocmask(SIG_SETMASK, &one, nullptr);
  EXPECT_TRUE(BlocksAnySignal());
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace brood::proc
