// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/handler_conformance.h"

#include <functional>
#include <string>
#include <utility>

#include "brood/testing/status_matchers.h"

namespace brood::testing {

// Here and not in the header: a test that makes a HandlerUnderTest thus links
// the suite.
HandlerUnderTest::HandlerUnderTest(std::string name,
                                   std::function<server::Handler()> make,
                                   std::string request)
    : name(std::move(name)),
      make(std::move(make)),
      request(std::move(request)) {}

// A test that links the kit may have no handler to try.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HandlerConformance);

TEST_P(HandlerConformance, SurvivesAClientThatClosesAtOnce) {
  EXPECT_THAT(CheckClosesAtOnce(GetParam()), IsOk());
}

TEST_P(HandlerConformance, SurvivesAClientThatResetsAtOnce) {
  EXPECT_THAT(CheckResetsAtOnce(GetParam()), IsOk());
}

TEST_P(HandlerConformance, SurvivesAResetInTheMiddleOfARequest) {
  EXPECT_THAT(CheckResetsInTheMiddle(GetParam()), IsOk());
}

TEST_P(HandlerConformance, RepliesInFullToAClientThatHalfCloses) {
  EXPECT_THAT(CheckHalfCloses(GetParam()), IsOk());
}

TEST_P(HandlerConformance, RepliesTheSameToARequestThatComesByteByByte) {
  EXPECT_THAT(CheckByteAtATime(GetParam()), IsOk());
}

TEST_P(HandlerConformance, SleepsWhileItsClientIsSilentAndEndsWhenItGoes) {
  EXPECT_THAT(CheckSilence(GetParam()), IsOk());
}

TEST_P(HandlerConformance, SurvivesAClientThatSendsWithoutReading) {
  EXPECT_THAT(CheckFlood(GetParam()), IsOk());
}

TEST_P(HandlerConformance, ServesManyClientsOneAfterTheOther) {
  EXPECT_THAT(CheckManyInARow(GetParam()), IsOk());
}

}  // namespace brood::testing
