// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/fork_per_connection.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/server/exec/executed_program.h"
#include "brood/server/options.h"
#include "brood/server/strategy/program_launcher.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::brood::testing::StrategyFixture;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ForkPerConnectionTest : public StrategyFixture {
 protected:
  void Dispatch(Slot slot) {
    net::Connection connection = Connect();
    fd_ = connection.fd();
    strategy_.Dispatch(slot, std::move(connection), now_, events_);
  }

  int fd_ = -1;
  ForkPerConnection strategy_{&spawner_, &reaper_, &program_};
};

TEST_F(ForkPerConnectionTest, ForksAChildThatIsTaggedWithTheSlot) {
  const net::Instant forked_at = net::After(now_, absl::Microseconds(60));
  spawner_.set_now(forked_at);
  Dispatch(7);
  EXPECT_THAT(events_.Take(), ElementsAre("serving 7 by 101"));
  EXPECT_EQ(events_.last_time(), forked_at);
  EXPECT_EQ(reaper_.tag_of(101), ChildTag::Connection(7).Pack());
}

// Otherwise a later child would inherit the copy, and the client would wait for
// the end of both children.
TEST_F(ForkPerConnectionTest, ClosesTheParentsCopyOfTheConnection) {
  Dispatch(7);
  EXPECT_LT(fcntl(fd_, F_GETFD), 0);
}

TEST_F(ForkPerConnectionTest, ReportsAForkThatFailed) {
  spawner_.FailWith(absl::ResourceExhaustedError("clone"));
  Dispatch(7);
  EXPECT_THAT(events_.Take(), ElementsAre("refused 7: clone"));
  EXPECT_EQ(events_.last_time(), now_);
  ASSERT_THAT(events_.returned(), SizeIs(1));
  EXPECT_TRUE(events_.returned()[0].socket().valid());
}

TEST_F(ForkPerConnectionTest, ReportsTheEndOfAChild) {
  Dispatch(7);
  events_.Take();
  strategy_.ChildEnded(ChildTag::Connection(7), {101, 0, FakeReaper::Exited(3)},
                       now_, events_);
  EXPECT_THAT(events_.Take(),
              ElementsAre("ended 7 by 101: exited with code 3"));
}

// The log line of the failure comes first: it needs the address of the client.
TEST_F(ForkPerConnectionTest, LaunchesAProgramWithoutItsSpawner) {
  ExecutedProgram executed;
  executed.path = "/no/such/program";
  executed.arguments = {"program"};
  executed.descriptors = {STDIN_FILENO, STDOUT_FILENO};
  StrategyEnvironment with_program = environment();
  with_program.executed = &executed;
  // The exit signal of the reaper, which does not handle it in this test.
  std::signal(reaper_.exit_signal(), SIG_IGN);
  const absl::Cleanup restore = [&] {
    std::signal(reaper_.exit_signal(), SIG_DFL);
  };
  ForkPerConnection strategy(&spawner_, &reaper_, &program_,
                             ProgramLauncher::For(Options(), with_program));
  ASSERT_THAT(strategy.Prepare(), IsOk());
  net::Connection connection = Connect();
  const int fd = connection.fd();
  strategy.Dispatch(7, std::move(connection), now_, events_);
  if (spawner_.count() > 0) GTEST_SKIP() << "no program can be launched here";
  EXPECT_LT(fcntl(fd, F_GETFD), 0);
  ASSERT_THAT(reaper_.pids(), SizeIs(1));
  const pid_t pid = reaper_.pids()[0];
  EXPECT_EQ(reaper_.tag_of(pid), ChildTag::Connection(7).Pack());
  EXPECT_THAT(events_.Take(), ElementsAre(absl::StrCat("serving 7 by ", pid)));
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, nullptr, __WALL)), pid);
  strategy.ChildEnded(ChildTag::Connection(7),
                      {pid, 0, FakeReaper::Exited(111)}, now_, events_);
  EXPECT_THAT(events_.Take(),
              ElementsAre("peer of 7", absl::StrCat("ended 7 by ", pid,
                                                    ": exited with code 111")));
}

TEST_F(ForkPerConnectionTest, NamesTheStrategyThatWorksBesideThreads) {
  spawner_.FailWith(absl::FailedPreconditionError("2 threads"));
  Dispatch(7);
  EXPECT_THAT(events_.Take(),
              ElementsAre(AllOf(HasSubstr("refused 7: 2 threads"),
                                HasSubstr("StrategyKind::kZygote"))));
}

TEST_F(ForkPerConnectionTest, RehearsesAsItForks) {
  spawner_.FallBackTo({"clone", "clone3: refused"});
  const absl::StatusOr<Rehearsal> rehearsal = strategy_.RehearseToServe();
  ASSERT_THAT(rehearsal, IsOk());
  EXPECT_EQ(rehearsal->pid, 101);
  EXPECT_EQ(rehearsal->fallback.way, "clone");
  EXPECT_EQ(rehearsal->fallback.why, "clone3: refused");
  EXPECT_EQ(reaper_.tag_of(101), ChildTag::Rehearsal().Pack());
  spawner_.FailWith(absl::PermissionDeniedError("clone"));
  EXPECT_THAT(strategy_.RehearseToServe(),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(ForkPerConnectionTest, PreparesItsSpawner) {
  spawner_.PrepareWith(absl::FailedPreconditionError("2 threads"));
  EXPECT_THAT(strategy_.Prepare(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("2 threads"), HasSubstr("zygote"))));
}

}  // namespace
}  // namespace brood::server
