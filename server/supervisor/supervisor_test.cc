// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/supervisor.h"

#include <poll.h>
#include <sys/types.h>

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/server/child_tag.h"
#include "brood/server/connection_report.h"
#include "brood/server/slot.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/fakes/fake_strategy.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::FakeStrategy;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Events = Strategy::Events;

constexpr absl::Duration kGrace = absl::Seconds(10);

// The clock of the supervisor, which stands still until a test moves it.
net::Instant fake_now;
net::Instant FakeNow() { return fake_now; }

// A supervisor with a listener on loopback, no process and no waiting: its
// strategy and its reaper are fakes, and each Step() is one turn.
class SupervisorTest : public ::brood::testing::LeakCheck {
 protected:
  SupervisorTest() {
    // The listener stamps connections by the real clock.
    fake_now = net::Now();
    options_.listen = {"127.0.0.1:0"};
    options_.log.level = LogLevel::kOff;
    options_.max_connections = 4;
    options_.drain_grace = kGrace;
    options_.on_connection_end = [this](const ConnectionReport& report) {
      EXPECT_FALSE(strategy_->busy()) << "reported from within the strategy";
      ended_.push_back(report.pid);
    };
    Create();
  }

  void Create() {
    supervisor_.reset();
    absl::StatusOr<Requests> requests = Requests::Create();
    ASSERT_THAT(requests, IsOk());
    requests_ = std::make_unique<Requests>(*std::move(requests));
    absl::StatusOr<Listeners> listeners = OpenListeners(options_, {}, &log_);
    ASSERT_THAT(listeners, IsOk());
    endpoint_ = listeners->front().listener.endpoint();
    auto deadlines = Deadlines::Create(options_, options_.Capacity(), fake_now);
    ASSERT_THAT(deadlines, IsOk());
    auto manager = ServiceManager::Create("", &log_);
    ASSERT_THAT(manager, IsOk());
    auto reaper = std::make_unique<FakeReaper>();
    reaper_ = reaper.get();
    auto strategy = std::make_unique<FakeStrategy>();
    strategy_ = strategy.get();
    strategy_->on_dispatch = [this](Slot slot, net::Connection,
                                    net::Instant now, Events& events) {
      last_pid_ = 1000 + static_cast<pid_t>(++dispatched_);
      reaper_->Adopt(proc::Child::Adopt(last_pid_),
                     ChildTag::Connection(slot).Pack());
      events.Serving(slot, last_pid_, now);
    };
    auto upgrade = Upgrade::Create(
        options_, manager->get(), reaper_, &log_,
        [this](const proc::Program& /*program*/) { return StartProgram(); });
    ASSERT_THAT(upgrade, IsOk());
    Supervisor::Parts parts = {*std::move(listeners),
                               std::move(reaper),
                               std::move(strategy),
                               *std::move(deadlines),
                               RequestSignals(),
                               Handshake(),
                               *std::move(manager),
                               *std::move(upgrade),
                               requests_.get(),
                               &log_,
                               FakeNow};
    supervisor_ = std::make_unique<Supervisor>(options_, std::move(parts));
    ASSERT_THAT(supervisor_->Start(), IsOk());
  }

  absl::StatusOr<proc::Child> StartProgram() {
    if (!program_status_.ok()) return program_status_;
    return proc::Child::Adopt(kProgram);
  }

  // Every process that is left obeys SIGKILL, so that the destructor ends.
  ~SupervisorTest() override {
    if (supervisor_ == nullptr) return;
    for (const pid_t pid : reaper_->pids()) {
      reaper_->End(pid, FakeReaper::Killed(SIGKILL));
    }
  }

  void Turn() { EXPECT_THAT(Step(), IsOkAndHolds(true)); }
  absl::StatusOr<bool> Step() {
    return supervisor_->Step(absl::ZeroDuration());
  }
  void Advance(absl::Duration by) { fake_now = net::After(fake_now, by); }

  TestClient Connect() {
    absl::StatusOr<TestClient> client = TestClient::Connect(endpoint_);
    EXPECT_THAT(client, IsOk());
    return *std::move(client);
  }

  static constexpr pid_t kProgram = 7;

  Options options_;
  EventLog log_{LogLevel::kOff};
  std::unique_ptr<Requests> requests_;
  FakeReaper* reaper_ = nullptr;
  FakeStrategy* strategy_ = nullptr;
  net::Endpoint endpoint_;
  int dispatched_ = 0;
  pid_t last_pid_ = 0;
  absl::Status program_status_;
  std::vector<pid_t> ended_;
  std::unique_ptr<Supervisor> supervisor_;
};

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
TEST_F(SupervisorTest, DispatchesWhatCameBackAfterTheStrategyHasReturned) {
  const TestClient client = Connect();
  Turn();
  strategy_->on_child_ended = [&](ChildTag tag,
                                  const proc::Reaper::Ended& ended,
                                  net::Instant /*now*/, Events& events) {
    const net::Instant accepted_at = fake_now;
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
  requests_->AskToDrain();
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0", "close"));
  EXPECT_THAT(reaper_->signals_to(last_pid_), IsEmpty());
  reaper_->End(last_pid_, FakeReaper::Exited(0));
  EXPECT_THAT(Step(), IsOkAndHolds(false));
  EXPECT_THAT(ended_, ElementsAre(last_pid_)) << "before it says so";
  EXPECT_TRUE(supervisor_->totals().Balanced());
}

TEST_F(SupervisorTest, ServesClientsThatWaitBeforeItCloses) {
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(Connect());
  requests_->AskToDrain();
  Turn();
  EXPECT_EQ(supervisor_->totals().accepted, 3u);
}

// One row for each moment of a stop: how long after the request, and which
// signals the child has been sent by then.
TEST_F(SupervisorTest, EscalatesFromDrainToTermToKill) {
  const TestClient client = Connect();
  Turn();
  requests_->AskToDrain();
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
  requests_->AskToDrain();
  requests_->AskToDrain();
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), ElementsAre(SIGTERM, SIGCONT));
}

TEST_F(SupervisorTest, KillsWhatIsLeftWhenItIsDestroyed) {
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

TEST_F(SupervisorTest, RefusesAnUpgradeWithoutACommand) {
  requests_->AskToUpgrade();
  Turn();
  EXPECT_THAT(reaper_->pids(), IsEmpty());
  EXPECT_EQ(supervisor_->upgrades_failed(), 0u) << "refused, not failed";
}

TEST_F(SupervisorTest, GoesOnServingWhenANewProgramCannotBeStarted) {
  options_.upgrade.command = {"/no/such/program"};
  program_status_ = absl::NotFoundError("posix_spawn");
  Create();
  requests_->AskToUpgrade();
  Turn();
  EXPECT_EQ(supervisor_->upgrades_failed(), 1u);
  const TestClient client = Connect();
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0"));
}

TEST_F(SupervisorTest, GoesOnServingWhenTheNewProgramEnds) {
  options_.upgrade.command = {"/program"};
  Create();
  requests_->AskToUpgrade();
  Turn();
  EXPECT_THAT(reaper_->pids(), ElementsAre(kProgram));
  reaper_->End(kProgram, FakeReaper::Exited(100));
  Turn();
  EXPECT_EQ(supervisor_->upgrades_failed(), 1u);
  EXPECT_THAT(strategy_->Take(), IsEmpty()) << "it is no child of a strategy";
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
