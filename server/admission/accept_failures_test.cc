// SPDX-License-Identifier: Apache-2.0

#include "brood/server/admission/accept_failures.h"

#include <algorithm>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/server/admission/gate.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

class AcceptFailuresTest : public ::testing::Test {
 protected:
  void FailWithoutPause(int times) {
    for (int i = 0; i < times; ++i) {
      EXPECT_EQ(failures_.Failed(now_), absl::nullopt) << i;
      EXPECT_EQ(failures_.resume_at(now_), net::Never());
    }
  }

  AcceptFailures failures_;
  net::Instant now_ = net::Now();
};

TEST_F(AcceptFailuresTest, RestsAfterManyFailuresInARow) {
  FailWithoutPause(AcceptFailures::kMost - 1);
  absl::Duration expected = Gate::kShortestPause;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(failures_.Failed(now_), expected);
    EXPECT_EQ(failures_.resume_at(now_), net::After(now_, expected));
    now_ = net::After(now_, expected);
    EXPECT_EQ(failures_.resume_at(now_), net::Never()) << "it ends by itself";
    expected = std::min(2 * expected, Gate::kLongestPause);
  }
  EXPECT_EQ(expected, Gate::kLongestPause);
}

TEST_F(AcceptFailuresTest, CountsFromTheBeginningAfterASuccess) {
  FailWithoutPause(AcceptFailures::kMost - 1);
  failures_.Succeeded();
  FailWithoutPause(AcceptFailures::kMost - 1);
  EXPECT_EQ(failures_.Failed(now_), Gate::kShortestPause);
  EXPECT_EQ(failures_.Failed(now_), 2 * Gate::kShortestPause);
  failures_.Succeeded();
  FailWithoutPause(AcceptFailures::kMost - 1);
  EXPECT_EQ(failures_.Failed(now_), Gate::kShortestPause);
}

}  // namespace
}  // namespace brood::server
