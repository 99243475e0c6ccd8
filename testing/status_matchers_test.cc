// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/status_matchers.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointee;

// Returns what a failed EXPECT_THAT(actual, matcher) prints about `actual`.
template <typename T, typename M>
std::string Explain(const T& actual, const M& matcher) {
  ::testing::StringMatchResultListener listener;
  ::testing::SafeMatcherCast<const T&>(matcher).MatchAndExplain(actual,
                                                                &listener);
  return listener.str();
}

const absl::Status kLost = absl::NotFoundError("no child 4711");

TEST(IsOkTest, AcceptsStatusAndStatusOrThatAreOk) {
  EXPECT_THAT(absl::OkStatus(), IsOk());
  EXPECT_THAT(absl::StatusOr<int>(1), IsOk());
}

TEST(IsOkTest, RejectsErrors) {
  EXPECT_THAT(kLost, Not(IsOk()));
  EXPECT_THAT(absl::StatusOr<int>(kLost), Not(IsOk()));
}

TEST(IsOkTest, ExplainsAMismatchByTheWholeStatus) {
  EXPECT_THAT(Explain(absl::StatusOr<int>(kLost), IsOk()),
              AllOf(HasSubstr("NOT_FOUND"), HasSubstr("no child 4711")));
}

TEST(IsOkAndHoldsTest, LooksAtTheValueWithValuesAndMatchers) {
  const absl::StatusOr<int> seven(7);
  EXPECT_THAT(seven, IsOkAndHolds(7));
  EXPECT_THAT(seven, IsOkAndHolds(Gt(6)));
  EXPECT_THAT(seven, Not(IsOkAndHolds(8)));
  EXPECT_THAT(absl::StatusOr<std::string>("abc"), IsOkAndHolds("abc"));
}

TEST(IsOkAndHoldsTest, RejectsErrors) {
  EXPECT_THAT(absl::StatusOr<int>(kLost), Not(IsOkAndHolds(0)));
}

TEST(IsOkAndHoldsTest, TakesValuesThatOnlyMove) {
  EXPECT_THAT(absl::StatusOr<std::unique_ptr<int>>(std::make_unique<int>(7)),
              IsOkAndHolds(Pointee(7)));
}

TEST(IsOkAndHoldsTest, ExplainsAMismatchByTheValueOrTheStatus) {
  EXPECT_THAT(Explain(absl::StatusOr<int>(7), IsOkAndHolds(8)),
              HasSubstr("which holds 7"));
  EXPECT_THAT(Explain(absl::StatusOr<int>(kLost), IsOkAndHolds(8)),
              HasSubstr("no child 4711"));
}

TEST(StatusIsTest, WantsExactlyThatCode) {
  EXPECT_THAT(kLost, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(absl::StatusOr<int>(kLost),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(kLost, Not(StatusIs(absl::StatusCode::kInternal)));
  EXPECT_THAT(absl::OkStatus(), StatusIs(absl::StatusCode::kOk));
}

TEST(StatusIsTest, MatchesTheMessage) {
  EXPECT_THAT(kLost, StatusIs(absl::StatusCode::kNotFound, "no child 4711"));
  EXPECT_THAT(kLost, StatusIs(absl::StatusCode::kNotFound, HasSubstr("4711")));
  EXPECT_THAT(kLost,
              Not(StatusIs(absl::StatusCode::kNotFound, HasSubstr("4712"))));
  EXPECT_THAT(kLost,
              Not(StatusIs(absl::StatusCode::kInternal, HasSubstr("4711"))));
}

TEST(StatusIsTest, SaysWhatItWantsAndWhatItGot) {
  EXPECT_THAT(Explain(kLost, StatusIs(absl::StatusCode::kInternal)),
              HasSubstr("no child 4711"));
  EXPECT_THAT(::testing::DescribeMatcher<absl::Status>(
                  StatusIs(absl::StatusCode::kInternal, HasSubstr("x"))),
              AllOf(HasSubstr("INTERNAL"), HasSubstr("has substring \"x\"")));
}

}  // namespace
}  // namespace brood::testing
