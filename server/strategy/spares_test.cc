// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/spares.h"

#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/server/vocabulary/child_tag.h"
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

class SparesTest : public StrategyFixture {
 protected:
  SparesTest() { Create(1, 4); }

  // Creates a set of `min` to `max` spares.
  void Create(size_t min, size_t max) {
    auto direct = std::make_unique<FakeStrategy>();
    direct_ = direct.get();
    spares_ =
        std::make_unique<Spares>(min, max, std::move(direct), environment());
  }

  void Dispatch(Slot slot) {
    spares_->Dispatch(slot, Connect(), now_, events_);
  }
  void Maintain(bool idle = true) { spares_->Maintain(now_, idle, events_); }
  // Acts as the spares that were forked: they report that they are ready, or
  // take their connections over.
  void MakeReady() {
    for (const int fd : spawner_.kept_fds()) {
      net::HandoffQueue::AdoptAwaiting(dup(fd)).Acknowledge();
    }
  }

  // Takes turns until all spares that are wanted are ready. Returns how many
  // processes have been created by then.
  int ForkAll() {
    for (int turn = 0; turn < 4; ++turn) {
      Maintain();
      MakeReady();
    }
    return spawner_.count();
  }

  FakeStrategy* direct_ = nullptr;
  std::unique_ptr<Spares> spares_;
};

TEST_F(SparesTest, ForksAheadWhenThereIsNoOtherWork) {
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
  EXPECT_THAT(events_.Take(), ElementsAre("assigned 7 to 101"));
  EXPECT_EQ(events_.last_page(), 7u);
  Dispatch(8);
  EXPECT_THAT(events_.Take(), IsEmpty());
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 8"));
}

// A burst for which there were too few spares doubles the wanted number; a
// second without one halves it.
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
  EXPECT_EQ(spares_->alarm(now_), net::Instant::min()) << "one has to leave";
  Maintain();
  EXPECT_EQ(spares_->alarm(now_), net::After(now_, WorkerSet::kLeaveTime))
      << "back at the minimum";
  Dispatch(3);
  Dispatch(4);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 2", "dispatch 4"))
      << "one spare was left";
}

TEST_F(SparesTest, ForksNothingWhenItIsClosed) {
  Maintain();
  spares_->Close();
  Maintain();
  EXPECT_EQ(spares_->alarm(now_), net::After(now_, WorkerSet::kLeaveTime))
      << "by then the spare must have left";
  EXPECT_EQ(spawner_.count(), 1);
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 7"))
      << "the spare was told to leave";
}

TEST_F(SparesTest, GivesNoConnectionToSparesOfAnEarlierGeneration) {
  Maintain();
  ASSERT_THAT(spares_->BeginGeneration(), IsOk());
  Dispatch(7);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 7"));
}

// If several spares are wanted, one that got a connection is not replaced at
// once: the next client would wait for that fork.
TEST_F(SparesTest, RefillsWhenAQuarterIsLeftOrInALull) {
  Create(4, 4);
  ASSERT_EQ(ForkAll(), 4);
  Dispatch(1);
  Maintain();
  EXPECT_EQ(spawner_.count(), 4) << "three are left";
  EXPECT_EQ(spares_->alarm(now_), net::After(now_, Spares::kLull));
  Advance(Spares::kLull);
  Maintain();
  EXPECT_EQ(spawner_.count(), 5) << "no client came";
  Dispatch(2);
  Dispatch(3);
  Maintain();
  EXPECT_EQ(spawner_.count(), 5) << "two are left";
  Dispatch(4);
  Maintain();
  EXPECT_GT(spawner_.count(), 5) << "one is left";
}

TEST_F(SparesTest, WantsNoMoreThanTheMaximumAndNoLessThanTheMinimum) {
  Create(3, 4);
  ASSERT_EQ(ForkAll(), 3);
  for (Slot slot = 0; slot < 4; ++slot) Dispatch(slot);
  MakeReady();  // three spares take their connections over
  EXPECT_EQ(ForkAll(), 3 + 4) << "six would be twice as many";
  Advance(Spares::kShrinkPeriod);
  Maintain();
  for (Slot slot = 4; slot < 7; ++slot) Dispatch(slot);
  EXPECT_THAT(direct_->Take(), ElementsAre("dispatch 3"))
      << "three spares were left";
}

// From then on the end of the spare is the end of a connection, and its place
// is free.
TEST_F(SparesTest, ReleasesASpareThatTookItsConnectionOver) {
  Maintain();
  MakeReady();
  Dispatch(7);
  Maintain();
  EXPECT_EQ(reaper_.tag_of(101), ChildTag::Worker(0).Pack());
  MakeReady();
  Dispatch(8);
  Maintain();
  EXPECT_EQ(reaper_.tag_of(101), ChildTag::Connection(7).Pack());
}

}  // namespace
}  // namespace brood::server
