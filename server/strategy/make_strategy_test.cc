// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/make_strategy.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "absl/base/config.h"
#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/net/handoff_queue.h"
#include "brood/server/exec/executed_program.h"
#include "brood/server/options.h"
#include "brood/server/strategy/auto_strategy.h"
#include "brood/server/strategy/fork_per_connection.h"
#include "brood/server/strategy/pool.h"
#include "brood/server/strategy/spares.h"
#include "brood/server/strategy/zygote/zygote.h"
#include "brood/server/strategy_kind.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::brood::testing::StrategyFixture;
using ::testing::ElementsAre;
using ::testing::StartsWith;

class MakeStrategyTest : public StrategyFixture {
 protected:
  absl::StatusOr<std::unique_ptr<Strategy>> TryMake(StrategyKind kind) {
    options_.strategy = kind;
    return MakeStrategy(options_, environment());
  }

  // Returns the strategy of `kind`, which must be a `T`.
  template <typename T>
  std::unique_ptr<T> Make(StrategyKind kind) {
    absl::StatusOr<std::unique_ptr<Strategy>> made = TryMake(kind);
    EXPECT_THAT(made, IsOk());
    if (!made.ok()) return nullptr;
    auto* strategy = dynamic_cast<T*>(made->release());
    EXPECT_NE(strategy, nullptr) << NameOf(kind);
    return std::unique_ptr<T>(strategy);
  }

  // Makes the workers that exist report that they are ready.
  void MakeReady() {
    for (const int fd : spawner_.kept_fds()) {
      net::HandoffQueue::AdoptAwaiting(dup(fd)).Acknowledge();
    }
  }

  // Takes turns without other work until no more workers are forked. Returns
  // how many processes were created.
  int CountForkedAhead(Strategy& strategy) {
    int before = -1;
    while (spawner_.count() != before) {
      before = spawner_.count();
      strategy.Maintain(now_, /*idle=*/true, events_);
      MakeReady();
    }
    return before;
  }

  Options options_;
};

TEST_F(MakeStrategyTest, MakesForkPerConnection) {
  const auto strategy = Make<ForkPerConnection>(StrategyKind::kFork);
  strategy->Dispatch(7, Connect(), now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 101"));
}

TEST_F(MakeStrategyTest, MakesSparesThatForkForAConnectionWithoutASpare) {
  options_.spares.min = 3;
  options_.spares.max = 5;
  const auto strategy = Make<Spares>(StrategyKind::kSpares);
  strategy->Dispatch(7, Connect(), now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 101"));
}

TEST_F(MakeStrategyTest, GivesSparesTheirBounds) {
  options_.spares.min = 3;
  options_.spares.max = 5;
  const auto strategy = Make<Spares>(StrategyKind::kSpares);
  EXPECT_EQ(CountForkedAhead(*strategy), 3);
  // A shortage doubles the wanted number, up to the maximum.
  for (Slot slot = 0; slot < 4; ++slot) {
    strategy->Dispatch(slot, Connect(), now_, events_);
  }
  MakeReady();  // the spares take their connections over
  Advance(Spares::kLull);
  EXPECT_EQ(CountForkedAhead(*strategy), 3 + 1 + 5);
}

TEST_F(MakeStrategyTest, MakesAPoolThatForksForAConnectionWithoutAWorker) {
  const auto strategy = Make<Pool>(StrategyKind::kPool);
  strategy->Dispatch(7, Connect(), now_, events_);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 101"));
}

TEST_F(MakeStrategyTest, GivesAPoolItsWorkers) {
  options_.pool.workers = 3;
  EXPECT_EQ(CountForkedAhead(*Make<Pool>(StrategyKind::kPool)), 3);
}

TEST_F(MakeStrategyTest, GivesAPoolNoMoreWorkersThanConnections) {
  options_.pool.workers = 3;
  options_.max_connections = 2;
  EXPECT_EQ(CountForkedAhead(*Make<Pool>(StrategyKind::kPool)), 2);
}

// A zygote has a cell for each connection, one for its rehearsal and one for
// its standby.
TEST_F(MakeStrategyTest, MakesAZygoteForEachConnection) {
  options_.max_connections = 9;
  const auto strategy = Make<Zygote>(StrategyKind::kZygote);
  ASSERT_THAT(strategy->Start(), IsOk());
  EXPECT_EQ(strategy->process().table().size(), 11u);
}

TEST_F(MakeStrategyTest, MakesAnAutoStrategyThatCreatesAZygote) {
  const auto strategy = Make<AutoStrategy>(StrategyKind::kAuto);
  ASSERT_THAT(strategy->Start(), IsOk());
  EXPECT_EQ(spawner_.count(), 2) << "the zygote and its standby";
}

// A launch does not copy the memory of this process, however large it is.
TEST_F(MakeStrategyTest, MakesAnAutoStrategyThatLaunchesProgramsItself) {
  const std::vector<char> ballast(Options::kLargestToFork + 1, 'x');
  EXPECT_EQ(ballast.back(), 'x');
  ExecutedProgram executed;
  executed.path = "/bin/cat";
  executed.arguments = {"cat"};
  executed.descriptors = {STDIN_FILENO, STDOUT_FILENO};
  StrategyEnvironment with_program = environment();
  with_program.executed = &executed;
  options_.strategy = StrategyKind::kAuto;
  const auto made = MakeStrategy(options_, with_program);
  ASSERT_THAT(made, IsOk());
  Strategy& strategy = **made;
  ASSERT_THAT(strategy.Start(), IsOk());
  ASSERT_THAT(strategy.Prepare(), IsOk());
  strategy.Dispatch(7, Connect(), now_, events_);
  if (spawner_.count() > 2) GTEST_SKIP() << "no program can be launched here";
  EXPECT_EQ(spawner_.count(), 2) << "the zygote and its standby";
  const pid_t pid = waitpid(-1, nullptr, __WALL);
  EXPECT_EQ(reaper_.tag_of(pid), ChildTag::Connection(7).Pack());
  EXPECT_THAT(events_.Take(), ElementsAre(absl::StrCat("serving 7 by ", pid)));
}

TEST_F(MakeStrategyTest, RefusesANumberThatIsNoEnumerator) {
  EXPECT_THAT(TryMake(static_cast<StrategyKind>(99)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("strategy: must be")));
}

TEST_F(MakeStrategyTest, NamesTheCallWhenNoDescriptorIsFree) {
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
  GTEST_SKIP() << "the sanitizer needs descriptors to look at memory";
#endif
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const absl::Cleanup restore = [&] { setrlimit(RLIMIT_NOFILE, &before); };
  const int lowest_free = dup(STDERR_FILENO);
  close(lowest_free);
  const rlimit none = {static_cast<rlim_t>(lowest_free), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_THAT(TryMake(StrategyKind::kPool),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       StartsWith("epoll_create1")));
}

}  // namespace
}  // namespace brood::server
