// SPDX-License-Identifier: Apache-2.0

#include "brood/server/deadlines/timer_wheel.h"

#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class TimerWheelTest : public ::testing::Test {
 protected:
  net::Instant At(int milliseconds) const {
    return net::After(start_, absl::Milliseconds(milliseconds));
  }
  std::vector<Slot> DueAt(int milliseconds) {
    std::vector<Slot> due;
    wheel_.Advance(At(milliseconds), [&](Slot slot) { due.push_back(slot); });
    return due;
  }

  static constexpr int kTurn = 10 * static_cast<int>(TimerWheel::kBuckets);
  const net::Instant start_ = net::Now();
  TimerWheel wheel_{8, start_};
};

TEST_F(TimerWheelTest, IsDueAtItsTimeAndNotBefore) {
  wheel_.Set(3, At(50));
  EXPECT_THAT(DueAt(49), IsEmpty());
  EXPECT_THAT(DueAt(50), ElementsAre(3));
  EXPECT_THAT(DueAt(100), IsEmpty());
}

TEST_F(TimerWheelTest, IsDueAtTheLaterOfTwoTicks) {
  wheel_.Set(3, At(51));
  EXPECT_THAT(DueAt(59), IsEmpty());
  EXPECT_THAT(DueAt(60), ElementsAre(3));
}

TEST_F(TimerWheelTest, IsNotDueIfItWasCancelled) {
  for (Slot slot : {0, 1, 2}) wheel_.Set(slot, At(50));
  wheel_.Cancel(1);
  wheel_.Cancel(7);
  EXPECT_THAT(DueAt(50), UnorderedElementsAre(0, 2));
}

TEST_F(TimerWheelTest, IsDueAtTheTimeThatWasSetLast) {
  wheel_.Set(0, At(50));
  wheel_.Set(0, At(90));
  EXPECT_THAT(DueAt(60), IsEmpty());
  EXPECT_THAT(DueAt(90), ElementsAre(0));
  EXPECT_EQ(wheel_.next(), net::Never()) << "the other was left behind";
}

TEST_F(TimerWheelTest, IsDueInItsTurnOfTheWheelIfThatIsFarAway) {
  wheel_.Set(0, At(3 * kTurn + 40));
  wheel_.Set(1, At(40));
  EXPECT_THAT(DueAt(40), ElementsAre(1));
  EXPECT_THAT(DueAt(kTurn + 40), IsEmpty());
  EXPECT_THAT(DueAt(3 * kTurn + 30), IsEmpty());
  EXPECT_THAT(DueAt(3 * kTurn + 40), ElementsAre(0));
}

TEST_F(TimerWheelTest, FindsEveryAlarmThatIsDueAfterALongSleep) {
  wheel_.Set(0, At(40));
  wheel_.Set(1, At(6000));
  wheel_.Set(2, At(1000000));
  wheel_.Set(3, At(900000 % kTurn + 10));  // its bucket is met first
  EXPECT_THAT(DueAt(900000), UnorderedElementsAre(0, 1, 3));
  EXPECT_THAT(DueAt(1000000), ElementsAre(2));
}

TEST_F(TimerWheelTest, IsDueAtTheNextTickIfItsTimeIsInThePast) {
  DueAt(100);
  wheel_.Set(0, At(20));
  EXPECT_THAT(DueAt(110), ElementsAre(0));
}

TEST_F(TimerWheelTest, LetsAnAlarmThatIsDueSetAndCancelOthers) {
  // With steps of two, the alarm that is cancelled is the next one in the list.
  for (const Slot step : {1, 2}) {
    TimerWheel wheel(3, start_);
    for (Slot slot : {0, 1, 2}) wheel.Set(slot, At(50));
    std::set<Slot> set = {0, 1, 2};
    for (int now = 50; now <= 200; now += 50) {
      int went_off = 0;
      wheel.Advance(At(now), [&](Slot slot) {
        EXPECT_EQ(set.count(slot), 1u) << "was cancelled: " << slot;
        EXPECT_LE(++went_off, 3);
        if (went_off > 3) return;
        wheel.Set(slot, At(now));  // over already: for the next tick
        const Slot other = (slot + step) % 3;
        wheel.Cancel(other);
        set.erase(other);
      });
      EXPECT_GE(went_off, 1);
    }
  }
}

TEST_F(TimerWheelTest, ReturnsWhenToAdvanceNext) {
  EXPECT_EQ(wheel_.next(), net::Never());
  wheel_.Set(0, At(500));
  wheel_.Set(1, At(70));
  EXPECT_EQ(wheel_.next(), At(70));
  wheel_.Cancel(1);
  EXPECT_EQ(wheel_.next(), At(500));
  wheel_.Set(0, At(kTurn - 10));
  EXPECT_EQ(wheel_.next(), At(kTurn - 10)) << "it is in the last bucket";
  wheel_.Set(0, net::Never());
  EXPECT_EQ(wheel_.next(), net::Never());
}

}  // namespace
}  // namespace brood::server
