// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/must_not_throw.h"

#include <stdexcept>

#include "gtest/gtest.h"

namespace brood::server {
namespace {

TEST(MustNotThrowTest, CallsTheFunction) {
  int calls = 0;
  CallMustNotThrow("Options::f", [&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(MustNotThrowDeathTest, NamesTheFunctionAndTheMessageOfTheException) {
  EXPECT_DEATH(
      CallMustNotThrow("Options::f", [] { throw std::runtime_error("a\nb"); }),
      "^brood: Options::f threw an exception: a.x0ab\n");
}

TEST(MustNotThrowDeathTest, EndsForEveryObjectThatIsThrown) {
  EXPECT_DEATH(CallMustNotThrow("Options::f", [] { throw 42; }),
               "^brood: Options::f threw an exception: an object that is no "
               "std::exception\n");
}

}  // namespace
}  // namespace brood::server
