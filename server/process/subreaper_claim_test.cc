// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/subreaper_claim.h"

#include <sys/prctl.h>

#include <memory>
#include <utility>

#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;

bool IsSubreaper() {
  int is = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &is);
  return is != 0;
}

using SubreaperClaimTest = ::brood::testing::LeakCheck;

TEST_F(SubreaperClaimTest, EndsWithTheLastClaim) {
  auto first = SubreaperClaim::Make();
  auto second = SubreaperClaim::Make();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_TRUE(IsSubreaper());
  first->reset();
  EXPECT_TRUE(IsSubreaper());
  second->reset();
  EXPECT_FALSE(IsSubreaper());
}

TEST_F(SubreaperClaimTest, LeavesAProgramThatWasOne) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  auto claim = SubreaperClaim::Make();
  ASSERT_THAT(claim, IsOk());
  claim->reset();
  EXPECT_TRUE(IsSubreaper());
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace
}  // namespace brood::server
