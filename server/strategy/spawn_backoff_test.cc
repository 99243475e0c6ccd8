// SPDX-License-Identifier: Apache-2.0

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

TEST(SpawnBackoffTest, BeginsWithOneAndDoublesUpToABound) {
  SpawnBackoff backoff;
  for (size_t allowed : {1u, 2u, 4u, 8u, 8u, 8u}) {
    EXPECT_EQ(backoff.Allowance(/*starting=*/0, kStart), allowed);
    backoff.BecameReady();
  }
  EXPECT_EQ(SpawnBackoff::kMostAtOnce, 8u);
}

TEST(SpawnBackoffTest, CountsProcessesThatAreStillStarting) {
  SpawnBackoff backoff;
  for (int i = 0; i < 3; ++i) backoff.BecameReady();
  EXPECT_EQ(backoff.Allowance(0, kStart), 8u);
  EXPECT_EQ(backoff.Allowance(5, kStart), 3u);
  EXPECT_EQ(backoff.Allowance(8, kStart), 0u);
  EXPECT_EQ(backoff.Allowance(100, kStart), 0u);
}

TEST(SpawnBackoffTest, PausesLongerEachTimeUpToABound) {
  SpawnBackoff backoff;
  net::Instant now = kStart;
  for (int ms : {100, 200, 400, 800, 1600, 1600, 1600}) {
    EXPECT_EQ(backoff.DiedAtStart(now), absl::Milliseconds(ms));
    const net::Instant end = net::After(now, absl::Milliseconds(ms));
    EXPECT_EQ(backoff.resume_at(), end);
    EXPECT_EQ(backoff.Allowance(0, now), 0u);
    EXPECT_EQ(backoff.Allowance(0, end - std::chrono::nanoseconds(1)), 0u);
    EXPECT_EQ(backoff.Allowance(0, end), 1u);
    now = end;
  }
}

TEST(SpawnBackoffTest, HasNoPauseBeforeTheFirstDeath) {
  EXPECT_EQ(SpawnBackoff().resume_at(), net::Instant::min());
  EXPECT_EQ(SpawnBackoff().Allowance(0, net::Instant()), 1u);
}

TEST(SpawnBackoffTest, CountsDeathsOfProcessesForkedTogetherAsOneFailure) {
  SpawnBackoff backoff;
  for (int i = 0; i < 3; ++i) backoff.BecameReady();
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(backoff.DiedAtStart(At(absl::Milliseconds(i))),
              absl::Milliseconds(100));
  }
  EXPECT_EQ(backoff.resume_at(), At(absl::Milliseconds(100)));
  // The next death is another failure.
  EXPECT_EQ(backoff.DiedAtStart(At(absl::Milliseconds(100))),
            absl::Milliseconds(200));
}

// Many processes become ready, and die right after.
TEST(SpawnBackoffTest, KeepsTheLastPausesThoughSomeProcessesWereReady) {
  SpawnBackoff backoff;
  backoff.DiedAtStart(kStart);
  backoff.BecameReady();
  EXPECT_EQ(backoff.DiedAtStart(At(absl::Milliseconds(101))),
            absl::Milliseconds(200));
  backoff.BecameReady();
  EXPECT_EQ(backoff.DiedAtStart(At(absl::Milliseconds(1300))),
            absl::Milliseconds(400));
}

TEST(SpawnBackoffTest, ForgetsTheLastPausesAfterASecondWithoutADeath) {
  SpawnBackoff backoff;
  backoff.DiedAtStart(kStart);
  backoff.DiedAtStart(At(absl::Milliseconds(100)));
  EXPECT_EQ(backoff.DiedAtStart(At(absl::Milliseconds(1300))),
            absl::Milliseconds(100));
}

// Returns the times of all forks until `end`, of a program whose children die
// at once before `cured`, and live from then on.
std::vector<net::Instant> ForksUntil(net::Instant end, net::Instant cured,
                                     SpawnBackoff backoff) {
  std::vector<net::Instant> forks;
  for (net::Instant now = kStart; now < end;
       now += std::chrono::milliseconds(1)) {
    const size_t forked = backoff.Allowance(0, now);
    forks.insert(forks.end(), forked, now);
    for (size_t i = 0; i < forked; ++i) {
      if (now < cured) backoff.DiedAtStart(now);
    }
    if (forked > 0 && now >= cured) backoff.BecameReady();
  }
  return forks;
}

TEST(SpawnBackoffTest, AllowsAtMostTwelveForksInTenSecondsIfAllDieAtStart) {
  EXPECT_LE(
      ForksUntil(At(absl::Seconds(10)), net::Never(), SpawnBackoff()).size(),
      12u);
  // A set that was at its full speed also loses the processes that it forked
  // last.
  SpawnBackoff strong;
  for (int i = 0; i < 3; ++i) strong.BecameReady();
  EXPECT_LE(ForksUntil(At(absl::Seconds(10)), net::Never(), strong).size(),
            12u + SpawnBackoff::kMostAtOnce);
}

TEST(SpawnBackoffTest, IsAtFullSpeedWithinTwoSecondsOfBeingCured) {
  for (int ms = 0; ms < 10000; ms += 17) {
    const net::Instant cured = At(absl::Milliseconds(ms));
    const net::Instant deadline = net::After(cured, absl::Seconds(2));
    const std::vector<net::Instant> forks =
        ForksUntil(deadline, cured, SpawnBackoff());
    EXPECT_EQ(std::count(forks.begin(), forks.end(), forks.back()), 8)
        << "cured after " << ms << " ms";
  }
}

}  // namespace
}  // namespace brood::server
