// SPDX-License-Identifier: Apache-2.0
//
// What becomes of the listeners, and of clients in their queues, when the
// supervisor stops.

#include <unistd.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/server/supervisor/supervisor.h"
#include "brood/server/supervisor/supervisor_fixture.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::TestClient;

// Another process has a copy of the listener.
class SupervisorStopTest : public SupervisorFixture {
 protected:
  // Requests a stop, and lets the time pass in which clients complete their
  // connections.
  void Stop() {
    requests_->AskToDrain();
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
  requests_->AskToDrain();
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
  requests_->AskToDrain();
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

// The new program goes on with the same sockets.
TEST_F(SupervisorStopTest, LeavesTheListeningToAProgramThatWasStarted) {
  options_.upgrade.command = {"/program"};
  Create();
  const net::UniqueFd copy = net::UniqueFd::Adopt(dup(listener_fd_));
  requests_->AskToUpgrade();
  Turn();
  requests_->AskToDrain();
  Turn();
  EXPECT_THAT(TestClient::Connect(endpoint_), IsOk());
}

}  // namespace
}  // namespace brood::server
