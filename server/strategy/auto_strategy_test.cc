// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/auto_strategy.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/fake_strategy.h"
#include "brood/testing/fakes/recorded_events.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::FakeStrategy;
using ::brood::testing::IsOk;
using ::brood::testing::RecordedEvents;
using ::brood::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kAnySize = INT64_MAX;
constexpr int64_t kNoSize = 0;

class AutoStrategyTest : public ::brood::testing::LeakCheck {
 protected:
  // Creates the strategy for a process of which at most `largest` bytes are
  // forked.
  void Create(int64_t largest) {
    auto zygote = std::make_unique<FakeStrategy>();
    auto fork = std::make_unique<FakeStrategy>();
    zygote_ = zygote.get();
    fork_ = fork.get();
    strategy_ = std::make_unique<AutoStrategy>(std::move(zygote),
                                               std::move(fork), largest);
  }

  void Dispatch() {
    strategy_->Dispatch(7, net::Connection(net::UniqueFd(), {}, {}, now_), now_,
                        events_);
  }
  void End(ChildTag tag) {
    strategy_->ChildEnded(tag, {101, tag.Pack(), FakeReaper::Exited(0)}, now_,
                          events_);
  }

  RecordedEvents events_;
  net::Instant now_ = net::Now();
  FakeStrategy* zygote_ = nullptr;
  FakeStrategy* fork_ = nullptr;
  std::unique_ptr<AutoStrategy> strategy_;
};

TEST_F(AutoStrategyTest, ForksASmallProcessItselfAndLetsTheZygoteGo) {
  Create(kAnySize);
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  Dispatch();
  EXPECT_THAT(fork_->Take(), ElementsAre("dispatch 7"));
  EXPECT_THAT(zygote_->Take(), ElementsAre("close"));
}

TEST_F(AutoStrategyTest, LeavesALargeProcessToTheZygote) {
  Create(kNoSize);
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  Dispatch();
  EXPECT_THAT(fork_->Take(), IsEmpty());
  EXPECT_THAT(zygote_->Take(), ElementsAre("dispatch 7"));
}

TEST_F(AutoStrategyTest, LeavesAProcessThatCannotForkToTheZygote) {
  Create(kAnySize);
  fork_->prepare_status = absl::FailedPreconditionError("2 threads");
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  Dispatch();
  EXPECT_THAT(zygote_->Take(), ElementsAre("dispatch 7"));
}

TEST_F(AutoStrategyTest, DecidesOnce) {
  Create(kAnySize);
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  fork_->prepare_status = absl::FailedPreconditionError("2 threads");
  EXPECT_FALSE(strategy_->Prepare().ok()) << "the zygote has been told to exit";
}

TEST_F(AutoStrategyTest, RehearsesWhatItHasChosen) {
  Create(kAnySize);
  zygote_->rehearsal_at_start = Rehearsal{7, {"clone", ""}};
  fork_->rehearsal_to_serve = Rehearsal{8, {}};
  absl::StatusOr<Rehearsal> rehearsal = strategy_->RehearseAtStart();
  ASSERT_THAT(rehearsal, IsOk());
  EXPECT_EQ(rehearsal->pid, 7);
  EXPECT_EQ(rehearsal->fallback.way, "clone");
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  rehearsal = strategy_->RehearseToServe();
  ASSERT_THAT(rehearsal, IsOk());
  EXPECT_EQ(rehearsal->pid, 8);
  EXPECT_EQ(rehearsal->fallback.way, "");
}

TEST_F(AutoStrategyTest, ForksWhereNoZygoteWorksAndLogsIt) {
  Create(kNoSize);
  zygote_->rehearsal_at_start = absl::UnimplementedError("no zygote");
  fork_->rehearsal_to_serve = Rehearsal{8, {"clone", "no clone3"}};
  EXPECT_THAT(strategy_->RehearseAtStart(), IsOk());
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  const absl::StatusOr<Rehearsal> rehearsal = strategy_->RehearseToServe();
  ASSERT_THAT(rehearsal, IsOk());
  EXPECT_EQ(rehearsal->fallback.way, "clone, without a zygote");
  EXPECT_EQ(rehearsal->fallback.why, "no clone3; no zygote");
  Dispatch();
  EXPECT_THAT(fork_->Take(), ElementsAre("dispatch 7"));
  EXPECT_THAT(zygote_->Take(), ElementsAre("close"));
}

TEST_F(AutoStrategyTest, RefusesThreadsWhereNoZygoteWorks) {
  Create(kAnySize);
  zygote_->rehearsal_at_start = absl::UnimplementedError("no zygote");
  EXPECT_THAT(strategy_->RehearseAtStart(), IsOk());
  fork_->prepare_status = absl::FailedPreconditionError("2 threads");
  EXPECT_THAT(strategy_->Prepare(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("2 threads"), HasSubstr("no zygote"))));
}

TEST_F(AutoStrategyTest, KeepsAZygoteThatWasShortOfProcesses) {
  Create(kNoSize);
  zygote_->rehearsal_at_start = absl::UnavailableError("clone");
  EXPECT_THAT(strategy_->RehearseAtStart(),
              StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  Dispatch();
  EXPECT_THAT(zygote_->Take(), ElementsAre("dispatch 7"));
}

// The zygote cannot be chosen later if it was told to exit, and the process
// should not be forked once it has grown.
TEST_F(AutoStrategyTest, StaysWithTheZygoteThatItHasChosen) {
  Create(kAnySize);
  fork_->prepare_status = absl::FailedPreconditionError("2 threads");
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  fork_->prepare_status = absl::OkStatus();
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  Dispatch();
  EXPECT_THAT(zygote_->Take(), ElementsAre("dispatch 7"));
}

TEST_F(AutoStrategyTest, HasTheRoomOfTheStrategyThatItHasChosen) {
  Create(kAnySize);
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  zygote_->has_room = false;
  EXPECT_TRUE(strategy_->HasRoom());
  fork_->has_room = false;
  EXPECT_FALSE(strategy_->HasRoom());
}

// The ends of its processes must be recorded until the last one.
TEST_F(AutoStrategyTest, TakesEachStepOfTheZygoteThoughItIsNotChosen) {
  Create(kAnySize);
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  int steps = 0;
  zygote_->on_adopt_spawned = [&] { ++steps; };
  zygote_->on_attend = [&](net::Instant, Strategy::Events&) { ++steps; };
  zygote_->on_maintain = [&](net::Instant, Strategy::Events&) { ++steps; };
  zygote_->descriptor = 77;
  zygote_->next_alarm = now_;
  strategy_->AdoptSpawned();
  strategy_->Attend(now_, events_);
  strategy_->Maintain(now_, /*idle=*/true, events_);
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(strategy_->fd(now_), 77);
  EXPECT_EQ(strategy_->alarm(now_), now_);
}

TEST_F(AutoStrategyTest, PassesTheEndOfEachChildToItsStrategy) {
  Create(kAnySize);
  ASSERT_THAT(strategy_->Prepare(), IsOk());
  zygote_->Take();
  for (const ChildTag tag : {ChildTag::Zygote(), ChildTag::Standby()}) End(tag);
  EXPECT_THAT(zygote_->Take(), ElementsAre("ended 101", "ended 101"));
  EXPECT_THAT(fork_->Take(), IsEmpty());
  End(ChildTag::Connection(7));
  EXPECT_THAT(fork_->Take(), ElementsAre("ended 101"));
}

}  // namespace
}  // namespace brood::server
