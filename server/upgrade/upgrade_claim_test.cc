// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/upgrade_claim.h"

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "absl/types/optional.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

class UpgradeClaimTest : public ::brood::testing::LeakCheck {};

bool CanClaim() { return UpgradeClaim::TryMake().has_value(); }

TEST_F(UpgradeClaimTest, BelongsToOneObjectAtATime) {
  for (int round = 0; round < 2; ++round) {
    const auto claim = UpgradeClaim::TryMake();
    EXPECT_TRUE(claim.has_value());
    EXPECT_FALSE(CanClaim());
  }
  EXPECT_TRUE(CanClaim());
}

TEST_F(UpgradeClaimTest, MovesWithItsObject) {
  auto claim = UpgradeClaim::TryMake();
  ASSERT_TRUE(claim.has_value());
  {
    const UpgradeClaim moved = *std::move(claim);
    claim.reset();
    EXPECT_FALSE(CanClaim());
  }
  EXPECT_TRUE(CanClaim());
}

TEST_F(UpgradeClaimTest, IsNotThatOfAProcessThatWasForkedSince) {
  auto claim = UpgradeClaim::TryMake();
  const pid_t pid = fork();
  if (pid == 0) {
    auto own = UpgradeClaim::TryMake();
    if (!own.has_value()) _exit(1);
    if (CanClaim()) _exit(2);
    own.reset();
    _exit(CanClaim() ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
  EXPECT_PRED1(::testing::ExitedWithCode(0), status);
  EXPECT_FALSE(CanClaim());
}

// In a process that did not make the claim, the end of a copy has no effect.
TEST_F(UpgradeClaimTest, EndsOnlyInTheProcessThatMadeIt) {
  auto claim = UpgradeClaim::TryMake();
  const pid_t pid = fork();
  if (pid == 0) {
    const auto own = UpgradeClaim::TryMake();
    claim.reset();
    _exit(CanClaim() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
  EXPECT_PRED1(::testing::ExitedWithCode(0), status);
}

}  // namespace
}  // namespace brood::server
