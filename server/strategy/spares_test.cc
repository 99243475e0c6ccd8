// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/spares.h"

#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/testing/fakes/fake_strategy.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeStrategy;
using ::brood::testing::IsOk;
using ::brood::testing::StrategyFixture;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kMin = 1, kMax = 4;

class SparesTest : public StrategyFixture {
 protected:
  SparesTest() {
    auto direct = std::make_unique<FakeStrategy>();
    direct_ = direct.get();
    spares_ =
        std::make_unique<Spares>(kMin, kMax, std::move(direct), environment());
  }

  void Dispatch(Slot slot) {
    spares_->Dispatch(slot, Connect(), now_, events_);
  }
  void Maintain(bool idle = true) { spares_->Maintain(now_, idle, events_); }
  // As the spares do it that were forked: they report ready, or take what they
  // were given over.
  void MakeReady() {
    for (const int fd : spawner_.kept_fds()) {
      net::HandoffQueue::AdoptAwaiting(dup(fd)).Acknowledge();
    }
  }

  FakeStrategy* direct_ = nullptr;
  std::unique_ptr<Spares> spares_;
};

TEST_F(SparesTest, ForksAheadWhenNothingElseIsToBeDone) {
  EXPECT_LE(spares_->alarm(now_), now_) << "at once";
  Maintain(/*idle=*/false);
  EXPECT_EQ(spawner_.count(), 0) << "a client may be waiting";
  Maintain();
  EXPECT_EQ(spawner_.count(), 1);
  EXPECT_EQ(spares_->alarm(now_), net::Never()) << "there are enough";
}

TEST_F(SparesTest, GivesAConnectionToASpareAndForksForTheNextOne) {
  Maintain();
  Dispatch(7);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 101"));
  Dispatch(8);
  EXPECT_THAT(events_.Take(), IsEmpty());
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 8"));
}

// A burst that found too few spares doubles what is wanted; a second without
// one halves it.
TEST_F(SparesTest, AdaptsTheWantedNumberToTheDemand) {
  Maintain();
  MakeReady();
  Dispatch(1);
  MakeReady();  // the spare takes it over
  Dispatch(2);  // finds none
  Advance(absl::Milliseconds(1));
  Maintain();
  EXPECT_EQ(spawner_.count(), 3) << "two are wanted, and two were forked";
  EXPECT_EQ(spares_->alarm(now_), net::After(now_, Spares::kShrinkPeriod));
  Advance(Spares::kShrinkPeriod);
  Maintain();
  EXPECT_EQ(spares_->alarm(now_), net::Never()) << "back at the minimum";
  Dispatch(3);
  Dispatch(4);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 2", "dispatch 4"))
      << "one spare was left";
}

TEST_F(SparesTest, ForksNothingWhenItIsClosed) {
  Maintain();
  spares_->Close();
  EXPECT_EQ(spares_->alarm(now_), net::Never());
  Maintain();
  EXPECT_EQ(spawner_.count(), 1);
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 7"))
      << "the spare was told to leave";
}

TEST_F(SparesTest, GivesNothingToSparesOfAnEarlierGeneration) {
  Maintain();
  ASSERT_THAT(spares_->BeginGeneration(), IsOk());
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 7"));
}

// With several wanted, one that is taken is not replaced at once: the next
// client would wait for that fork.
TEST_F(SparesTest, RefillsWhenAQuarterIsLeftOrInALull) {
  spares_ = std::make_unique<Spares>(
      kMax, kMax, std::make_unique<FakeStrategy>(), environment());
  for (int turn = 0; turn < 4; ++turn) {
    Maintain();
    MakeReady();
  }
  ASSERT_EQ(spawner_.count(), static_cast<int>(kMax));
  Dispatch(1);
  Maintain();
  EXPECT_EQ(spawner_.count(), static_cast<int>(kMax)) << "three are left";
  EXPECT_EQ(spares_->alarm(now_), net::After(now_, Spares::kLull));
  Advance(Spares::kLull);
  Maintain();
  EXPECT_EQ(spawner_.count(), static_cast<int>(kMax) + 1) << "no client came";
}

}  // namespace
}  // namespace brood::server
