#include "brood/server/strategy/spawn_backoff.h"

#include <algorithm>
#include <vector>

#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

// All times are counted from here.
const net::Instant kStart = net::After(net::Instant(), absl::Hours(1));

net::Instant At(absl::Duration since_start) {
  return net::After(kStart, since_start);
}

TEST(BirthPacingTest, BeginsWithOneAndDoublesUpToABound) {
  BirthPacing pacing;
  for (size_t allowed : {1u, 2u, 4u, 8u, 8u, 8u}) {
    EXPECT_EQ(pacing.Allowance(/*unproven=*/0, kStart), allowed);
    pacing.Proven();
  }
  EXPECT_EQ(BirthPacing::kMostAtOnce, 8u);
}

TEST(BirthPacingTest, CountsThoseThatAreStillUnproven) {
  BirthPacing pacing;
  for (int i = 0; i < 3; ++i) pacing.Proven();
  EXPECT_EQ(pacing.Allowance(0, kStart), 8u);
  EXPECT_EQ(pacing.Allowance(5, kStart), 3u);
  EXPECT_EQ(pacing.Allowance(8, kStart), 0u);
  EXPECT_EQ(pacing.Allowance(100, kStart), 0u);
}

TEST(BirthPacingTest, PausesLongerEachTimeUpToABound) {
  BirthPacing pacing;
  net::Instant now = kStart;
  for (int ms : {100, 200, 400, 800, 1600, 1600, 1600}) {
    EXPECT_EQ(pacing.DiedAtStart(now), absl::Milliseconds(ms));
    const net::Instant end = net::After(now, absl::Milliseconds(ms));
    EXPECT_EQ(pacing.resume_at(), end);
    EXPECT_EQ(pacing.Allowance(0, now), 0u);
    EXPECT_EQ(pacing.Allowance(0, end - std::chrono::nanoseconds(1)), 0u);
    EXPECT_EQ(pacing.Allowance(0, end), 1u);
    now = end;
  }
}

TEST(BirthPacingTest, HasNoPauseBeforeTheFirstDeath) {
  EXPECT_EQ(BirthPacing().resume_at(), net::Instant::min());
  EXPECT_EQ(BirthPacing().Allowance(0, net::Instant()), 1u);
}

TEST(BirthPacingTest, TakesDeathsOfThoseForkedAtOnceForOneFailure) {
  BirthPacing pacing;
  for (int i = 0; i < 3; ++i) pacing.Proven();
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(pacing.DiedAtStart(At(absl::Milliseconds(i))),
              absl::Milliseconds(100));
  }
  EXPECT_EQ(pacing.resume_at(), At(absl::Milliseconds(100)));
  // The next one is another.
  EXPECT_EQ(pacing.DiedAtStart(At(absl::Milliseconds(100))),
            absl::Milliseconds(200));
}

TEST(BirthPacingTest, ForgetsTheLastPausesWhenOneIsReady) {
  BirthPacing pacing;
  pacing.DiedAtStart(kStart);
  pacing.DiedAtStart(At(absl::Milliseconds(100)));
  pacing.Proven();
  EXPECT_EQ(pacing.DiedAtStart(At(absl::Seconds(1))), absl::Milliseconds(100));
}

// A program whose children die, or live, at once: the times of all births.
std::vector<net::Instant> BirthsUntil(net::Instant end, net::Instant cured,
                                      BirthPacing pacing) {
  std::vector<net::Instant> births;
  for (net::Instant now = kStart; now < end;
       now += std::chrono::milliseconds(1)) {
    const size_t forked = pacing.Allowance(0, now);
    births.insert(births.end(), forked, now);
    for (size_t i = 0; i < forked; ++i) {
      if (now < cured) pacing.DiedAtStart(now);
    }
    if (forked > 0 && now >= cured) pacing.Proven();
  }
  return births;
}

TEST(BirthPacingTest, AllowsAtMostTwelveBirthsInTenSecondsIfAllDieAtStart) {
  EXPECT_LE(
      BirthsUntil(At(absl::Seconds(10)), net::Never(), BirthPacing()).size(),
      12u);
  // One that was at its full strength loses those that it forked last, too.
  BirthPacing strong;
  for (int i = 0; i < 3; ++i) strong.Proven();
  EXPECT_LE(BirthsUntil(At(absl::Seconds(10)), net::Never(), strong).size(),
            12u + BirthPacing::kMostAtOnce);
}

TEST(BirthPacingTest, IsAtFullSpeedWithinTwoSecondsOfBeingCured) {
  for (int ms = 0; ms < 10000; ms += 17) {
    const net::Instant cured = At(absl::Milliseconds(ms));
    const net::Instant deadline = net::After(cured, absl::Seconds(2));
    const std::vector<net::Instant> births =
        BirthsUntil(deadline, cured, BirthPacing());
    EXPECT_EQ(std::count(births.begin(), births.end(), births.back()), 8)
        << "cured after " << ms << " ms";
  }
}

}  // namespace
}  // namespace brood::server
