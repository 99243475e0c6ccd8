// SPDX-License-Identifier: Apache-2.0
//
// Tests what a stop does to the listeners, and to clients in their queues.

#include <unistd.h>

#include <csignal>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/child.h"
#include "brood/server/supervisor/lifecycle.h"
#include "brood/server/supervisor/supervisor.h"
#include "brood/server/supervisor/supervisor_fixture.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::TestClient;
using Events = Strategy::Events;

// A supervisor whose listener another process has as well.
class SupervisorStopTest : public SupervisorFixture {
 protected:
  // Requests a stop, and lets the time pass in which clients complete their
  // connections.
  void Stop() {
    requests_->RequestStop();
    EXPECT_THAT(Step(), IsOk());
    Advance(kRoundTrip);
    EXPECT_THAT(Step(), IsOk());
  }
  bool IsRefused() const {
    return absl::IsUnavailable(TestClient::Connect(endpoint_).status());
  }
};

TEST_F(SupervisorStopTest, EndsTheListeningForEveryProcess) {
  const net::UniqueFd copy = net::UniqueFd::Adopt(dup(listener_fd_));
  Turn();
  EXPECT_THAT(TestClient::Connect(endpoint_), IsOk());
  Stop();
  EXPECT_TRUE(IsRefused());
}

// The time at which the listener may be closed comes between two turns.
TEST_F(SupervisorStopTest, ClosesAnEmptyListenerThoughNothingWakesIt) {
  Turn();
  requests_->RequestStop();
  Turn();
  Advance(kRoundTrip);
  const net::Instant start = net::Now();
  EXPECT_THAT(supervisor_->Step(absl::Seconds(20)), IsOkAndHolds(false));
  EXPECT_LT(absl::FromChrono(net::Now() - start), absl::Seconds(5));
}

TEST_F(SupervisorStopTest, EndsTheListeningWhenItIsDestroyed) {
  const net::UniqueFd copy = net::UniqueFd::Adopt(dup(listener_fd_));
  supervisor_.reset();
  EXPECT_TRUE(IsRefused());
}

TEST_F(SupervisorStopTest, KeepsNewcomersOutWhileAClientIsServed) {
  const TestClient client = Connect();
  options_.max_connections = 1;
  Turn();
  requests_->RequestStop();
  Turn();
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      TestClient::Connect(endpoint_, absl::Milliseconds(50)).status()))
      << "neither accepted nor refused";
}

TEST_F(SupervisorStopTest, CountsClientsThatAreLeftInTheQueue) {
  std::vector<TestClient> clients;
  for (int i = 0; i < options_.max_connections + 3; ++i) {
    clients.push_back(Connect());
  }
  Turn();
  Stop();
  EXPECT_EQ(supervisor_->totals().left_in_queue, 0u);
  Advance(kGrace);
  Turn();
  EXPECT_EQ(supervisor_->totals().left_in_queue, 3u);
  EXPECT_TRUE(supervisor_->totals().Balanced());
}

TEST_F(SupervisorStopTest, LeavesChildrenBehindThatCannotBeKilled) {
  const TestClient first = Connect(), second = Connect();
  Turn();
  Turn();
  const std::vector<pid_t> pids = reaper_->pids();
  ASSERT_EQ(pids.size(), 2u);
  reaper_->Refuse(pids[0], absl::PermissionDeniedError("kill"));
  reaper_->Suspend(pids[1]);
  Stop();
  Advance(kGrace);
  const net::Instant grace_over = now_;
  Turn();
  Advance(Lifecycle::kKillDelay);
  absl::StatusOr<bool> goes_on = true;
  int looks = 0;
  for (; goes_on.ok() && *goes_on && looks < 100; ++looks) {
    goes_on = Step();
    Advance(Lifecycle::kLookPeriod);
  }
  EXPECT_THAT(goes_on, IsOkAndHolds(false));
  // The last look, and the turn in which their ends were returned.
  EXPECT_EQ(looks, Lifecycle::kLooks + 1);
  EXPECT_LE(now_ - grace_over,
            absl::ToChronoMilliseconds(absl::Milliseconds(200) +
                                       2 * Lifecycle::kLookPeriod));
  EXPECT_EQ(supervisor_->totals().unknown, 2u);
  EXPECT_EQ(supervisor_->totals().running, 0u);
}

TEST_F(SupervisorStopTest, WaitsForChildrenThatDieBesideOneThatCannot) {
  const TestClient first = Connect(), second = Connect();
  Turn();
  Turn();
  const std::vector<pid_t> pids = reaper_->pids();
  reaper_->Refuse(pids[0], absl::PermissionDeniedError("kill"));
  Stop();
  Advance(kGrace);
  Turn();
  Advance(Lifecycle::kKillDelay);
  for (int looks = 0; looks < 10; ++looks) {
    Turn();
    Advance(Lifecycle::kLookPeriod);
  }
  reaper_->End(pids[1], FakeReaper::Killed(SIGKILL));
  absl::StatusOr<bool> goes_on = true;
  for (int looks = 0; goes_on.ok() && *goes_on && looks < 10; ++looks) {
    goes_on = Step();
    Advance(Lifecycle::kLookPeriod);
  }
  EXPECT_THAT(goes_on, IsOkAndHolds(false));
  EXPECT_EQ(supervisor_->totals().killed, 1u);
  EXPECT_EQ(supervisor_->totals().unknown, 1u);
}

// A process that was created late can be killed, and is waited for.
TEST_F(SupervisorStopTest, CountsOnlyLooksInARowThatFindNoneToKill) {
  const TestClient client = Connect();
  Turn();
  reaper_->Refuse(last_pid_, absl::PermissionDeniedError("kill"));
  Stop();
  Advance(kGrace);
  Turn();
  Advance(Lifecycle::kKillDelay);
  for (const bool first : {true, false}) {
    for (int looks = 1; looks < Lifecycle::kLooks; ++looks) {
      Turn();
      Advance(Lifecycle::kLookPeriod);
    }
    if (!first) break;
    reaper_->Adopt(proc::Child::Adopt(500), ChildTag::Rehearsal().Pack());
    Turn();
    Advance(Lifecycle::kLookPeriod);
    reaper_->End(500, FakeReaper::Killed(SIGKILL));
  }
  EXPECT_EQ(supervisor_->totals().running, 1u);
}

// A stop ends, whatever keeps the child.
TEST_F(SupervisorStopTest, LeavesAChildBehindThatDoesNotDieIn10S) {
  const TestClient client = Connect();
  Turn();
  Stop();
  Advance(kGrace);
  Turn();
  Advance(Lifecycle::kKillDelay);
  Turn();
  Advance(Lifecycle::kLongestDeath);
  Turn();
  EXPECT_THAT(Step(), IsOkAndHolds(false));
  EXPECT_EQ(supervisor_->totals().unknown, 1u);
}

TEST_F(SupervisorStopTest, LeavesChildrenThatCannotBeKilledWhenItIsDestroyed) {
  const TestClient client = Connect();
  Turn();
  reaper_->Refuse(last_pid_, absl::PermissionDeniedError("kill"));
  // Moves the clock, which otherwise stands still in the destructor.
  strategy_->on_maintain = [](net::Instant, Events&) {
    Advance(Lifecycle::kLookPeriod);
  };
  supervisor_.reset();
  EXPECT_EQ(ended_.size(), 1u);
}

// F16: the destructor used a whole processor until the last child had ended.
TEST_F(SupervisorStopTest, SleepsBetweenLooksWhenItIsDestroyed) {
  const TestClient client = Connect();
  Turn();
  reaper_->Refuse(last_pid_, absl::PermissionDeniedError("kill"));
  int turns = 0;
  strategy_->on_maintain = [&turns](net::Instant, Events&) {
    now_ = net::Now();
    ++turns;
  };
  supervisor_.reset();
  EXPECT_LE(turns, 20);
  EXPECT_EQ(ended_.size(), 1u);
}

TEST_F(SupervisorStopTest, LooksForHeldChildrenIfItIsFull) {
  options_.max_connections = 2;
  Create();
  const TestClient first = Connect();
  Turn();
  reaper_->End(last_pid_, FakeReaper::Exited(0));
  Turn();
  EXPECT_FALSE(reaper_->looks_for_held());
  const TestClient second = Connect(), third = Connect();
  Turn();
  reaper_->End(500, FakeReaper::Exited(0));
  reaper_->Adopt(proc::Child::Adopt(500), ChildTag::Rehearsal().Pack());
  Turn();
  EXPECT_TRUE(reaper_->looks_for_held());
}

TEST_F(SupervisorStopTest, LooksForHeldChildrenWhileItKills) {
  const TestClient client = Connect();
  Turn();
  Stop();
  Advance(kGrace);
  Turn();
  EXPECT_FALSE(reaper_->looks_for_held());
  Advance(Lifecycle::kKillDelay);
  Turn();
  // The end of any child makes the supervisor call the reaper.
  reaper_->Adopt(proc::Child::Adopt(500), ChildTag::Rehearsal().Pack());
  reaper_->End(500, FakeReaper::Exited(0));
  Turn();
  EXPECT_TRUE(reaper_->looks_for_held());
}

// The new program goes on with the same sockets.
TEST_F(SupervisorStopTest, LeavesTheListeningToAProgramThatWasStarted) {
  options_.upgrade.command = {"/program"};
  Create();
  const net::UniqueFd copy = net::UniqueFd::Adopt(dup(listener_fd_));
  requests_->RequestUpgrade();
  Turn();
  requests_->RequestStop();
  Turn();
  EXPECT_THAT(TestClient::Connect(endpoint_), IsOk());
}

}  // namespace
}  // namespace brood::server
