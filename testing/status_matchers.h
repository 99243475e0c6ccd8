// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_STATUS_MATCHERS_H_
#define BROOD_TESTING_STATUS_MATCHERS_H_

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"

namespace brood::testing {

namespace internal {

// Returns `status` itself.
inline const absl::Status& StatusOf(const absl::Status& status) {
  return status;
}
// Returns the status in `status_or`.
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

// IsOkMatcher is what IsOk() returns.
class IsOkMatcher {
 public:
  using is_gtest_matcher = void;

  // Reports whether `actual` is OK; if not, prints its status to `listener`.
  template <typename T>
  bool MatchAndExplain(const T& actual,
                       ::testing::MatchResultListener* listener) const {
    const absl::Status& status = StatusOf(actual);
    if (!status.ok()) *listener << "which is " << status;
    return status.ok();
  }
  // Prints what a value is that matches, for the message of a failure.
  void DescribeTo(std::ostream* os) const { *os << "is OK"; }
  // Prints what a value is that does not match.
  void DescribeNegationTo(std::ostream* os) const { *os << "is not OK"; }
};

// StatusIsMatcher is what StatusIs() returns.
class StatusIsMatcher {
 public:
  using is_gtest_matcher = void;

  // Matches a status with `code` and with a message that matches `message`.
  StatusIsMatcher(absl::StatusCode code,
                  ::testing::Matcher<const std::string&> message)
      : code_(code), message_(std::move(message)) {}

  // Reports whether the code and the message of `actual` match, and prints its
  // status to `listener` in any case.
  template <typename T>
  bool MatchAndExplain(const T& actual,
                       ::testing::MatchResultListener* listener) const {
    const absl::Status& status = StatusOf(actual);
    *listener << "which is " << status;
    return status.code() == code_ &&
           message_.Matches(std::string(status.message()));
  }
  // Prints what a value is that matches, for the message of a failure.
  void DescribeTo(std::ostream* os) const {
    *os << "has code " << code_ << " and a message that ";
    message_.DescribeTo(os);
  }
  // Prints what a value is that does not match.
  void DescribeNegationTo(std::ostream* os) const {
    *os << "has another code than " << code_ << " or a message that ";
    message_.DescribeNegationTo(os);
  }

 private:
  absl::StatusCode code_;
  ::testing::Matcher<const std::string&> message_;
};

// IsOkAndHoldsImpl is IsOkAndHoldsMatcher for one type T, which EXPECT_THAT
// chooses: a reference to a StatusOr.
template <typename T>
class IsOkAndHoldsImpl : public ::testing::MatcherInterface<T> {
 public:
  using Value = typename std::remove_reference_t<T>::value_type;

  // Matches a value by `inner`, a matcher or a value that it must equal.
  template <typename Inner>
  explicit IsOkAndHoldsImpl(const Inner& inner)
      : inner_(::testing::SafeMatcherCast<const Value&>(inner)) {}

  bool MatchAndExplain(
      T actual, ::testing::MatchResultListener* listener) const override {
    if (!actual.ok()) {
      *listener << "which is " << actual.status();
      return false;
    }
    *listener << "which holds " << ::testing::PrintToString(*actual) << " ";
    return inner_.MatchAndExplain(*actual, listener);
  }
  void DescribeTo(std::ostream* os) const override {
    *os << "is OK and holds a value that ";
    inner_.DescribeTo(os);
  }
  void DescribeNegationTo(std::ostream* os) const override {
    *os << "is not OK or holds a value that ";
    inner_.DescribeNegationTo(os);
  }

 private:
  const ::testing::Matcher<const Value&> inner_;
};

// IsOkAndHoldsMatcher is what IsOkAndHolds() returns.
template <typename Inner>
class IsOkAndHoldsMatcher {
 public:
  // Stores `inner` until the type T is known.
  explicit IsOkAndHoldsMatcher(Inner inner) : inner_(std::move(inner)) {}

  template <typename T>
  operator ::testing::Matcher<T>() const {  // NOLINT: matchers convert.
    return ::testing::Matcher<T>(new IsOkAndHoldsImpl<T>(inner_));
  }

 private:
  Inner inner_;
};

}  // namespace internal

// Matchers for absl::Status and absl::StatusOr, for any process. There is no
// matcher for "not OK": a test states which error it wants. A mismatch shows
// the whole status.
//
// Example:
//   EXPECT_THAT(Endpoint::Parse(":80"),
//               IsOkAndHolds(Property(&Endpoint::port, 80)));
//   EXPECT_THAT(Endpoint::Parse("80"),
//               StatusIs(absl::StatusCode::kInvalidArgument,
//                        HasSubstr("needs a port")));

// Matches a status, or a StatusOr, that is OK.
inline internal::IsOkMatcher IsOk() { return {}; }

// Matches a status, or a StatusOr, whose code is `code` and whose message, a
// std::string, matches `message`.
inline internal::StatusIsMatcher StatusIs(
    absl::StatusCode code,
    ::testing::Matcher<const std::string&> message = ::testing::_) {
  return {code, std::move(message)};
}

// Matches a StatusOr that is OK and whose value matches `inner`.
template <typename Inner>
internal::IsOkAndHoldsMatcher<std::decay_t<Inner>> IsOkAndHolds(Inner&& inner) {
  return internal::IsOkAndHoldsMatcher<std::decay_t<Inner>>(
      std::forward<Inner>(inner));
}

}  // namespace brood::testing

#endif  // BROOD_TESTING_STATUS_MATCHERS_H_
