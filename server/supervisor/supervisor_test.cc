// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/supervisor.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <csignal>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/event_fd.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/server/supervisor/supervisor_fixture.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Events = Strategy::Events;
using SupervisorTest = SupervisorFixture;

TEST_F(SupervisorTest, DispatchesEachConnectionThatWaits) {
  Turn();
  EXPECT_THAT(strategy_->Take(), IsEmpty());
  const TestClient one = Connect(), other = Connect();
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0", "dispatch 1"));
  EXPECT_EQ(supervisor_->totals().running, 2u);
}

TEST_F(SupervisorTest, AcceptsNothingAtTheCap) {
  std::vector<TestClient> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(Connect());
  Turn();
  EXPECT_THAT(strategy_->Take(), SizeIs(4));
  Turn();
  EXPECT_THAT(strategy_->Take(), IsEmpty());
  reaper_->End(1001, FakeReaper::Exited(0));
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("ended 1001"))
      << "the listener was not polled";
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0"));
}

TEST_F(SupervisorTest, AcceptsNothingWithoutRoomInTheStrategy) {
  const TestClient client = Connect();
  strategy_->has_room = false;
  Turn();
  EXPECT_THAT(strategy_->Take(), IsEmpty());
  strategy_->has_room = true;
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0"));
}

TEST_F(SupervisorTest, ReportsAnEndAfterTheStepsOfTheTurn) {
  const TestClient client = Connect();
  Turn();
  reaper_->End(last_pid_, FakeReaper::Exited(0));
  Turn();
  EXPECT_THAT(ended_, ElementsAre(last_pid_));
}

// The fakes fail the test if a call comes while another one is running.
TEST_F(SupervisorTest,
       DispatchesAReturnedConnectionAfterTheStrategyHasReturned) {
  const TestClient client = Connect();
  Turn();
  strategy_->on_child_ended = [&](ChildTag tag,
                                  const proc::Reaper::Ended& ended,
                                  net::Instant /*now*/, Events& events) {
    const net::Instant accepted_at = now_;
    events.Returned(tag.index,
                    net::Connection(net::Socket(), {}, {}, accepted_at),
                    ended.pid, ended.status);
  };
  strategy_->Take();
  reaper_->End(last_pid_, FakeReaper::Killed(SIGKILL));
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("ended 1001", "dispatch 0"));
  EXPECT_EQ(supervisor_->totals().accepted, 1u);
  EXPECT_THAT(ended_, IsEmpty());
}

TEST_F(SupervisorTest, StopsWhenNothingWaitsAndTheLastChildHasEnded) {
  const TestClient client = Connect();
  Turn();
  requests_->RequestStop();
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0"))
      << "a client may be about to connect";
  Advance(kRoundTrip);
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("close"));
  EXPECT_THAT(reaper_->signals_to(last_pid_), IsEmpty());
  reaper_->End(last_pid_, FakeReaper::Exited(0));
  EXPECT_THAT(Step(), IsOkAndHolds(false));
  EXPECT_THAT(ended_, ElementsAre(last_pid_)) << "before it says so";
  EXPECT_TRUE(supervisor_->totals().Balanced());
}

TEST_F(SupervisorTest, ServesClientsThatWaitBeforeItCloses) {
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(Connect());
  requests_->RequestStop();
  Turn();
  EXPECT_EQ(supervisor_->totals().accepted, 3u);
}

// One row for each moment of a stop: how long after the request, and which
// signals the child has been sent by then.
TEST_F(SupervisorTest, EscalatesFromDrainToTermToKill) {
  const TestClient client = Connect();
  Turn();
  requests_->RequestStop();
  Turn();
  const struct {
    absl::Duration after;
    std::vector<int> signals;
  } kMoments[] = {
      {absl::Milliseconds(1), {}},
      {kGrace - absl::Milliseconds(2), {}},
      {absl::Milliseconds(1), {SIGTERM, SIGCONT}},
      {Lifecycle::kKillDelay - absl::Milliseconds(1), {SIGTERM, SIGCONT}},
      {absl::Milliseconds(1), {SIGTERM, SIGCONT, SIGKILL}},
      {Lifecycle::kKillDelay, {SIGTERM, SIGCONT, SIGKILL, SIGKILL}}};
  for (const auto& moment : kMoments) {
    Advance(moment.after);
    Turn();
    EXPECT_EQ(reaper_->signals_to(last_pid_), moment.signals);
  }
  reaper_->End(last_pid_, FakeReaper::Killed(SIGKILL));
  EXPECT_THAT(Step(), IsOkAndHolds(false));
  EXPECT_EQ(supervisor_->totals().killed, 1u);
}

TEST_F(SupervisorTest, TerminatesAtOnceAtTheSecondRequest) {
  const TestClient client = Connect();
  Turn();
  requests_->RequestStop();
  requests_->RequestStop();
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), ElementsAre(SIGTERM, SIGCONT));
}

TEST_F(SupervisorTest, KillsTheChildrenThatAreLeftWhenItIsDestroyed) {
  const TestClient client = Connect();
  Turn();
  const pid_t pid = last_pid_;
  // The destructor waits for the end that the kernel would report.
  strategy_->on_maintain = [this, pid](net::Instant, Events&) {
    if (reaper_->signals_to(pid) ==
        std::vector<int>{SIGTERM, SIGCONT, SIGKILL}) {
      reaper_->End(pid, FakeReaper::Killed(SIGKILL));
    }
  };
  supervisor_.reset();
  EXPECT_THAT(ended_, ElementsAre(pid));
}

TEST_F(SupervisorTest, ServesNothingWhenTheStrategyCannot) {
  strategy_->prepare_status = absl::FailedPreconditionError("2 threads");
  EXPECT_THAT(Step(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

// A child that another process created for this one may have ended before it
// is known, or may become known only when its end was looked for.
TEST_F(SupervisorTest, AdoptsChildrenBeforeAndAfterItReaps) {
  const TestClient client = Connect();
  Turn();
  std::vector<std::string> steps;
  strategy_->on_adopt_spawned = [&] { steps.push_back("adopt"); };
  strategy_->on_child_ended = [&](ChildTag tag,
                                  const proc::Reaper::Ended& ended,
                                  net::Instant now, Events& events) {
    steps.push_back("ended");
    events.Ended(tag.index, ended.pid, ended.status, now);
  };
  const int forgets = reaper_->forget_count();
  reaper_->End(last_pid_, FakeReaper::Exited(0));
  Turn();
  EXPECT_THAT(steps, ElementsAre("adopt", "ended", "adopt"));
  EXPECT_EQ(reaper_->forget_count(), forgets + 1)
      << "the pids may be given to other processes from now on";
}

TEST_F(SupervisorTest, PassesToTheStrategyWhetherTheTurnHadOtherWork) {
  Turn();
  EXPECT_TRUE(strategy_->idle);
  const TestClient client = Connect();
  Turn();
  EXPECT_FALSE(strategy_->idle);
}

TEST_F(SupervisorTest, AttendsToAStrategyThatIsReadableOrHasNoDescriptor) {
  int attended = 0;
  strategy_->on_attend = [&](net::Instant, Events&) { ++attended; };
  Turn();
  EXPECT_EQ(attended, 1) << "it has no descriptor";
  const absl::StatusOr<net::EventFd> events = net::EventFd::Create();
  ASSERT_THAT(events, IsOk());
  strategy_->descriptor = events->fd();
  Turn();
  EXPECT_EQ(attended, 1) << "there is no event";
  events->Notify();
  Turn();
  EXPECT_EQ(attended, 2);
  strategy_->descriptor = -1;
}

TEST_F(SupervisorTest, KillsTheChildOfAConnectionWhoseDeadlineHasPassed) {
  options_.deadlines.connection = absl::Seconds(5);
  Create();
  const TestClient client = Connect();
  Turn();
  Advance(absl::Seconds(4));
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), IsEmpty());
  Advance(absl::Seconds(2));
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), ElementsAre(SIGKILL));
}

TEST_F(SupervisorTest, WaitsForChildrenOfTheStrategyThatServeNoConnection) {
  constexpr pid_t kSpare = 500;
  Turn();
  reaper_->Adopt(proc::Child::Adopt(kSpare), ChildTag::Worker(0).Pack());
  strategy_->on_child_ended = [](ChildTag, const proc::Reaper::Ended&,
                                 net::Instant, Events&) {};
  requests_->RequestStop();
  Turn();
  Advance(kRoundTrip);
  Turn();
  reaper_->End(kSpare, FakeReaper::Exited(0));
  EXPECT_THAT(Step(), IsOkAndHolds(false));
}

TEST_F(SupervisorTest, FailsWhenEveryListenerIsDead) {
  Turn();
  ASSERT_EQ(shutdown(listener_fd_, SHUT_RDWR), 0);
  EXPECT_THAT(Step(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SupervisorTest, HasADescriptorThatIsNotReadableForWorkThatMustWait) {
  std::vector<TestClient> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(Connect());
  absl::StatusOr<int> fd = supervisor_->PollableFd();
  ASSERT_THAT(fd, IsOk());
  Turn();
  pollfd ready = {*fd, POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0) << "four are served, which is the cap";
}

TEST_F(SupervisorTest, HasADescriptorThatIsReadableWhenATurnHasWork) {
  Turn();
  absl::StatusOr<int> fd = supervisor_->PollableFd();
  ASSERT_THAT(fd, IsOk());
  pollfd ready = {*fd, POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  const TestClient client = Connect();
  EXPECT_EQ(poll(&ready, 1, 10000), 1);
  Turn();
  EXPECT_EQ(poll(&ready, 1, 0), 0);
}

}  // namespace
}  // namespace brood::server
