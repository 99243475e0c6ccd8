// SPDX-License-Identifier: Apache-2.0
//
// Which exit signal a reaper claims.

#include <csignal>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/proc/reaper.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/reaper_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::ReaperHarness;
using ::brood::testing::StatusIs;
using ::testing::SizeIs;
using Ownership = Reaper::Ownership;

class ReaperExitSignalTest : public ::brood::testing::LeakCheck {};

TEST_F(ReaperExitSignalTest, ClaimsASignalThatIsUnused) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGRTMAX);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  std::signal(SIGRTMAX - 1, SIG_IGN);
  EXPECT_EQ(ReaperHarness(Ownership::kOursAlone).reaper().exit_signal(),
            SIGRTMAX - 2);
  std::signal(SIGRTMAX - 1, SIG_DFL);
  sigprocmask(SIG_UNBLOCK, &blocked, nullptr);
}

// A program may be started with every signal blocked or ignored.
TEST_F(ReaperExitSignalTest,
       ClaimsASignalThatIsBlockedOrIgnoredIfThereIsNoOther) {
  sigset_t real_time, before;
  sigemptyset(&real_time);
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
    sigaddset(&real_time, signal);
    if (signal != SIGRTMIN) std::signal(signal, SIG_IGN);
  }
  sigprocmask(SIG_BLOCK, &real_time, &before);
  for (const int expected : {SIGRTMIN, SIGRTMAX}) {
    {
      ReaperHarness harness(Ownership::kOursAlone);
      EXPECT_EQ(harness.reaper().exit_signal(), expected);
      harness.SpawnZombie([] { return 1; });
      EXPECT_THAT(harness.CleanupByQueue(), SizeIs(1));
    }
    std::signal(SIGRTMIN, SIG_IGN);
  }
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
    EXPECT_EQ(std::signal(signal, SIG_DFL), SIG_IGN);
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(ReaperExitSignalTest, ReturnsErrorIfEverySignalIsTakenAndReleasesThem) {
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<Reaper>> reapers;
    absl::StatusOr<std::unique_ptr<Reaper>> reaper;
    while ((reaper = Reaper::Create(Ownership::kOursAlone, 1)).ok()) {
      reapers.push_back(*std::move(reaper));
      ASSERT_LT(reapers.size(), 100u);
    }
    EXPECT_THAT(reaper, StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_THAT(reapers, SizeIs(SIGRTMAX - SIGRTMIN + 1));
  }
}

}  // namespace
}  // namespace brood::proc
