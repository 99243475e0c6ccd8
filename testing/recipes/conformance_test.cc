// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/handler_conformance.h"
#include "gtest/gtest.h"
#include "testing/recipes/greet.h"

using brood::testing::HandlerConformance;
using brood::testing::HandlerUnderTest;

HandlerUnderTest Greeting() {
  HandlerUnderTest greeting(
      "Greet", [] { return recipes::Greet; }, /*request=*/"");
  greeting.reply = "hello\n";
  return greeting;
}

INSTANTIATE_TEST_SUITE_P(Mine, HandlerConformance,
                         ::testing::Values(Greeting()),
                         HandlerConformance::NameOf);
