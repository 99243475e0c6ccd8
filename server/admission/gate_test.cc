// SPDX-License-Identifier: Apache-2.0

#include "brood/server/admission/gate.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace brood::server {
namespace {

constexpr size_t kCap = 3;
constexpr absl::Duration kShortest = Gate::kShortestPause;
constexpr absl::Duration kLongest = Gate::kLongestPause;
const net::Instant kNow = net::Instant() + std::chrono::hours(1000);

net::Instant JustBefore(net::Instant instant) {
  return instant - std::chrono::nanoseconds(1);
}

TEST(GateTest, IsOpenBelowTheCapAndClosedFromItOn) {
  const Gate gate(kCap);
  EXPECT_TRUE(gate.Open(0, kNow));
  EXPECT_TRUE(gate.Open(kCap - 1, kNow));
  EXPECT_FALSE(gate.Open(kCap, kNow));
  EXPECT_FALSE(gate.Open(kCap + 1, kNow));
  EXPECT_EQ(gate.max_connections(), kCap);
}

TEST(GateTest, ReturnsNeverIfItDoesNotPause) {
  const Gate gate(kCap);
  EXPECT_EQ(gate.resume_at(kNow), net::Never());
}

TEST(GateTest, IsClosedForExactlyThePause) {
  Gate gate(kCap);
  const net::Instant end = net::After(kNow, gate.Pause(kNow));
  EXPECT_FALSE(gate.Open(0, kNow));
  EXPECT_FALSE(gate.Open(0, JustBefore(end)));
  EXPECT_TRUE(gate.Open(0, end));
}

TEST(GateTest, ReturnsTheEndOfAPauseUntilItIsOver) {
  Gate gate(kCap);
  const net::Instant end = net::After(kNow, gate.Pause(kNow));
  EXPECT_EQ(gate.resume_at(kNow), end);
  EXPECT_EQ(gate.resume_at(JustBefore(end)), end);
  EXPECT_EQ(gate.resume_at(end), net::Never());
}

TEST(GateTest, PausesTwiceAsLongEachTimeUpToTheLongestPause) {
  Gate gate(kCap);
  net::Instant now = kNow;
  absl::Duration expected = kShortest;
  for (int failure = 0; failure < 100; ++failure) {
    EXPECT_EQ(gate.Pause(now), expected);
    now = gate.resume_at(now);
    EXPECT_TRUE(gate.Open(0, now));
    expected = std::min(2 * expected, kLongest);
  }
  EXPECT_EQ(expected, kLongest);
}

TEST(GateTest, MeasuresAPauseFromTheFailureThatBeganIt) {
  Gate gate(kCap);
  gate.Pause(kNow);
  const net::Instant later = net::After(kNow, absl::Milliseconds(1));
  EXPECT_EQ(gate.Pause(later), 2 * kShortest);
  EXPECT_EQ(gate.resume_at(later), net::After(later, 2 * kShortest));
}

// A child that ends gives back some of everything that may have run out.
TEST(GateTest, ReopensWhenAChildEnds) {
  Gate gate(kCap);
  gate.Pause(kNow);
  gate.ChildEnded();
  EXPECT_TRUE(gate.Open(0, kNow));
  EXPECT_EQ(gate.resume_at(kNow), net::Never());
}

TEST(GateTest, StillPausesLongerIfAChildsEndDidNotHelp) {
  Gate gate(kCap);
  absl::Duration last = gate.Pause(kNow);
  while (last < kLongest) {
    gate.ChildEnded();
    const absl::Duration next = gate.Pause(kNow);
    ASSERT_GT(next, last);
    last = next;
  }
}

TEST(GateTest, PausesShortlyAgainAfterASuccess) {
  Gate gate(kCap);
  for (int failure = 0; failure < 10; ++failure) gate.Pause(kNow);
  gate.ChildEnded();
  gate.Succeeded();
  EXPECT_EQ(gate.Pause(kNow), kShortest);
  EXPECT_EQ(gate.Pause(kNow), 2 * kShortest);
}

TEST(GateTest, KeepsTheCapAfterEveryReopening) {
  Gate gate(kCap);
  gate.Pause(kNow);
  gate.ChildEnded();
  EXPECT_FALSE(gate.Open(kCap, kNow));
  gate.Pause(kNow);
  EXPECT_FALSE(gate.Open(kCap, gate.resume_at(kNow)));
}

// The numbers that docs/decisions/accepting.md gives.
TEST(GateTest, PausesFor10To150Milliseconds) {
  EXPECT_EQ(kShortest, absl::Milliseconds(10));
  EXPECT_EQ(kLongest, absl::Milliseconds(150));
}

}  // namespace
}  // namespace brood::server
