#include "brood/server/admission/gate.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace brood::server {
namespace {

constexpr size_t kCap = 3;
constexpr absl::Duration kShortest = Admission::kShortestPause;
constexpr absl::Duration kLongest = Admission::kLongestPause;
const net::Instant kNow = net::Instant() + std::chrono::hours(1000);

net::Instant JustBefore(net::Instant instant) {
  return instant - std::chrono::nanoseconds(1);
}

TEST(AdmissionTest, IsOpenBelowTheCapAndClosedFromItOn) {
  const Admission admission(kCap);
  EXPECT_TRUE(admission.Open(0, kNow));
  EXPECT_TRUE(admission.Open(kCap - 1, kNow));
  EXPECT_FALSE(admission.Open(kCap, kNow));
  EXPECT_FALSE(admission.Open(kCap + 1, kNow));
  EXPECT_EQ(admission.max_connections(), kCap);
}

TEST(AdmissionTest, HasNothingToWaitForIfItDoesNotPause) {
  const Admission admission(kCap);
  EXPECT_EQ(admission.resume_at(kNow), net::Never());
}

TEST(AdmissionTest, IsClosedForExactlyThePause) {
  Admission admission(kCap);
  const net::Instant end = net::After(kNow, admission.Pause(kNow));
  EXPECT_FALSE(admission.Open(0, kNow));
  EXPECT_FALSE(admission.Open(0, JustBefore(end)));
  EXPECT_TRUE(admission.Open(0, end));
}

TEST(AdmissionTest, TellsWhenAPauseEndsUntilItHas) {
  Admission admission(kCap);
  const net::Instant end = net::After(kNow, admission.Pause(kNow));
  EXPECT_EQ(admission.resume_at(kNow), end);
  EXPECT_EQ(admission.resume_at(JustBefore(end)), end);
  EXPECT_EQ(admission.resume_at(end), net::Never());
}

TEST(AdmissionTest, PausesTwiceAsLongEachTimeUpToTheLongestPause) {
  Admission admission(kCap);
  net::Instant now = kNow;
  absl::Duration expected = kShortest;
  for (int failure = 0; failure < 100; ++failure) {
    EXPECT_EQ(admission.Pause(now), expected);
    now = admission.resume_at(now);
    EXPECT_TRUE(admission.Open(0, now));
    expected = std::min(2 * expected, kLongest);
  }
  EXPECT_EQ(expected, kLongest);
}

TEST(AdmissionTest, MeasuresAPauseFromTheFailureThatBeganIt) {
  Admission admission(kCap);
  admission.Pause(kNow);
  const net::Instant later = net::After(kNow, absl::Milliseconds(1));
  EXPECT_EQ(admission.Pause(later), 2 * kShortest);
  EXPECT_EQ(admission.resume_at(later), net::After(later, 2 * kShortest));
}

// A child gives back some of everything.
TEST(AdmissionTest, ReopensWhenAChildEnds) {
  Admission admission(kCap);
  admission.Pause(kNow);
  admission.ChildEnded();
  EXPECT_TRUE(admission.Open(0, kNow));
  EXPECT_EQ(admission.resume_at(kNow), net::Never());
}

TEST(AdmissionTest, StillPausesLongerIfAChildsEndDidNotHelp) {
  Admission admission(kCap);
  absl::Duration last = admission.Pause(kNow);
  while (last < kLongest) {
    admission.ChildEnded();
    const absl::Duration next = admission.Pause(kNow);
    ASSERT_GT(next, last);
    last = next;
  }
}

TEST(AdmissionTest, PausesShortlyAgainAfterASuccess) {
  Admission admission(kCap);
  for (int failure = 0; failure < 10; ++failure) admission.Pause(kNow);
  admission.ChildEnded();
  admission.Succeeded();
  EXPECT_EQ(admission.Pause(kNow), kShortest);
  EXPECT_EQ(admission.Pause(kNow), 2 * kShortest);
}

TEST(AdmissionTest, KeepsTheCapWhateverReopensIt) {
  Admission admission(kCap);
  admission.Pause(kNow);
  admission.ChildEnded();
  EXPECT_FALSE(admission.Open(kCap, kNow));
  admission.Pause(kNow);
  EXPECT_FALSE(admission.Open(kCap, admission.resume_at(kNow)));
}

// The numbers that DESIGN.md gives.
TEST(AdmissionTest, PausesFor10To150Milliseconds) {
  EXPECT_EQ(kShortest, absl::Milliseconds(10));
  EXPECT_EQ(kLongest, absl::Milliseconds(150));
}

}  // namespace
}  // namespace brood::server
