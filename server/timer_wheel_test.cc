#include "brood/server/timer_wheel.h"

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
  std::vector<TimerWheel::Slot> DueAt(int milliseconds) {
    std::vector<TimerWheel::Slot> due;
    wheel_.Advance(At(milliseconds),
                   [&](TimerWheel::Slot slot) { due.push_back(slot); });
    return due;
  }

  const net::Instant start_ = net::Now();
  TimerWheel wheel_{8, start_};
};

TEST_F(TimerWheelTest, GoesOffAtItsTimeAndNotBefore) {
  wheel_.Set(3, At(50));
  EXPECT_THAT(DueAt(49), IsEmpty());
  EXPECT_THAT(DueAt(50), ElementsAre(3));
  EXPECT_THAT(DueAt(100), IsEmpty());
}

TEST_F(TimerWheelTest, BetweenTwoTicksItGoesOffAtTheLaterOne) {
  wheel_.Set(3, At(51));
  EXPECT_THAT(DueAt(59), IsEmpty());
  EXPECT_THAT(DueAt(60), ElementsAre(3));
}

TEST_F(TimerWheelTest, OneThatIsTakenBackDoesNotGoOff) {
  for (TimerWheel::Slot slot : {0, 1, 2}) wheel_.Set(slot, At(50));
  wheel_.Cancel(1);
  wheel_.Cancel(7);
  EXPECT_THAT(DueAt(50), UnorderedElementsAre(0, 2));
}

TEST_F(TimerWheelTest, TheLastTimeThatWasSetCounts) {
  wheel_.Set(0, At(50));
  wheel_.Set(0, At(90));
  EXPECT_THAT(DueAt(60), IsEmpty());
  EXPECT_THAT(DueAt(90), ElementsAre(0));
}

TEST_F(TimerWheelTest, ManyTurnsAwayItGoesOffInItsTurn) {
  constexpr int kTurn = 10 * static_cast<int>(TimerWheel::kBuckets);
  wheel_.Set(0, At(3 * kTurn + 40));
  wheel_.Set(1, At(40));
  EXPECT_THAT(DueAt(40), ElementsAre(1));
  EXPECT_THAT(DueAt(kTurn + 40), IsEmpty());
  EXPECT_THAT(DueAt(3 * kTurn + 30), IsEmpty());
  EXPECT_THAT(DueAt(3 * kTurn + 40), ElementsAre(0));
}

TEST_F(TimerWheelTest, AfterALongSleepAllThatWereDueGoOff) {
  wheel_.Set(0, At(40));
  wheel_.Set(1, At(6000));
  wheel_.Set(2, At(1000000));
  EXPECT_THAT(DueAt(900000), UnorderedElementsAre(0, 1));
  EXPECT_THAT(DueAt(1000000), ElementsAre(2));
}

TEST_F(TimerWheelTest, OneInThePastGoesOffAtTheNextTick) {
  DueAt(100);
  wheel_.Set(0, At(20));
  EXPECT_THAT(DueAt(110), ElementsAre(0));
}

TEST_F(TimerWheelTest, WhoeverGoesOffMaySetAndCancel) {
  for (TimerWheel::Slot slot : {0, 1, 2}) wheel_.Set(slot, At(50));
  std::set<TimerWheel::Slot> set = {0, 1, 2};
  for (int now = 50; now <= 200; now += 50) {
    int went_off = 0;
    wheel_.Advance(At(now), [&](TimerWheel::Slot slot) {
      ++went_off;
      EXPECT_EQ(set.count(slot), 1u) << "was cancelled: " << slot;
      wheel_.Set(slot, At(now + 50));
      const TimerWheel::Slot other = (slot + 1) % 3;
      wheel_.Cancel(other);
      set.erase(other);
      EXPECT_LE(went_off, 3);
    });
    EXPECT_GE(went_off, 1);
  }
}

TEST_F(TimerWheelTest, SaysWhenToLookNext) {
  EXPECT_EQ(wheel_.next(), net::Never());
  wheel_.Set(0, At(500));
  wheel_.Set(1, At(70));
  EXPECT_EQ(wheel_.next(), At(70));
  wheel_.Cancel(1);
  EXPECT_EQ(wheel_.next(), At(500));
  wheel_.Set(0, net::Never());
  EXPECT_EQ(wheel_.next(), net::Never());
}

}  // namespace
}  // namespace brood::server
