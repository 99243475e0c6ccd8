// SPDX-License-Identifier: Apache-2.0

// Tests the steps of the supervisor for an upgrade and for the service manager.

#include <sys/types.h>

#include <csignal>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/server/supervisor/lifecycle.h"
#include "brood/server/supervisor/supervisor.h"
#include "brood/server/supervisor/supervisor_fixture.h"
#include "brood/server/upgrade/generation_link.h"
#include "brood/server/upgrade/main_process.h"
#include "brood/server/upgrade/upgrade.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/fake_service_manager.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::FakeServiceManager;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::ShortDir;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using SupervisorWithoutCommandTest = SupervisorFixture;

class SupervisorUpgradeTest : public SupervisorFixture {
 protected:
  SupervisorUpgradeTest() {
    options_.upgrade.command = {"/program"};
    Create();
  }

  // Starts a new program, which reports that it is ready.
  void StartReadyProgram() {
    requests_->RequestUpgrade();
    Turn();
    ReportReady();
    Turn();
  }
  // Starts a new program, which takes over.
  void HandOver() {
    StartReadyProgram();
    Advance(Upgrade::kProof);
    Turn();
  }
  // Returns the kind of the next message to the new program.
  absl::optional<GenerationLink::Kind> LinkMessage() {
    const auto message = link_.Receive();
    if (!message) return absl::nullopt;
    return message->kind;
  }
};

TEST_F(SupervisorWithoutCommandTest, RefusesAnUpgrade) {
  requests_->RequestUpgrade();
  Turn();
  EXPECT_THAT(reaper_->pids(), IsEmpty());
  EXPECT_EQ(supervisor_->upgrades_failed(), 0u) << "refused, not failed";
}

TEST_F(SupervisorUpgradeTest, GoesOnServingWhenTheNewProgramCannotBeStarted) {
  program_status_ = absl::NotFoundError("posix_spawn");
  requests_->RequestUpgrade();
  Turn();
  EXPECT_EQ(supervisor_->upgrades_failed(), 1u);
  const TestClient client = Connect();
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0"));
}

TEST_F(SupervisorUpgradeTest, GoesOnServingWhenTheNewProgramEnds) {
  requests_->RequestUpgrade();
  Turn();
  EXPECT_THAT(reaper_->pids(), ElementsAre(kProgram));
  reaper_->End(kProgram, FakeReaper::Exited(100));
  Turn();
  EXPECT_EQ(supervisor_->upgrades_failed(), 1u);
  EXPECT_THAT(strategy_->Take(), IsEmpty()) << "it is no child of a strategy";
}

TEST_F(SupervisorUpgradeTest, AcceptsNoConnectionWhileTheNewProgramDoes) {
  StartReadyProgram();
  const TestClient client = Connect();
  Turn();
  EXPECT_THAT(strategy_->Take(), IsEmpty()) << "it is for the new program";
  reaper_->End(kProgram, FakeReaper::Exited(1));
  Turn();
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0"))
      << "there is no new program any more";
}

TEST_F(SupervisorUpgradeTest, StaysUntilTheNewProgramHasEnded) {
  const TestClient client = Connect();
  Turn();
  HandOver();
  EXPECT_TRUE(supervisor_->handed_over());
  EXPECT_THAT(reaper_->pids(), ElementsAre(kProgram, last_pid_));
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0", "close"));
  reaper_->End(last_pid_, FakeReaper::Exited(0));
  Turn();
  EXPECT_FALSE(supervisor_->last_status());
  requests_->RequestStop();
  Turn();
  EXPECT_EQ(LinkMessage(), GenerationLink::Kind::kStop);
  reaper_->End(kProgram, FakeReaper::Exited(3));
  EXPECT_THAT(Step(), IsOkAndHolds(false)) << "as it was asked to";
  EXPECT_EQ(supervisor_->last_status()->code(), 3);
}

// The grace begins only with a request to stop.
TEST_F(SupervisorUpgradeTest, WaitsForItsConnectionsWithoutALimit) {
  const TestClient client = Connect();
  Turn();
  HandOver();
  Advance(absl::Hours(24 * 365));
  Turn();
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), IsEmpty());
  requests_->RequestStop();
  Turn();
  Advance(kGrace - absl::Milliseconds(1));
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), IsEmpty());
  Advance(absl::Milliseconds(1));
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), ElementsAre(SIGTERM, SIGCONT));
  EXPECT_THAT(reaper_->signals_to(kProgram), IsEmpty())
      << "it has children of its own to end";
  Advance(Lifecycle::kKillDelay);
  Turn();
  EXPECT_THAT(reaper_->signals_to(kProgram), IsEmpty());
  Advance(MainProcess::kLastDelay);
  Turn();
  EXPECT_THAT(reaper_->signals_to(kProgram), ElementsAre(SIGKILL));
}

TEST_F(SupervisorUpgradeTest, HasEndedWithTheProgramThatServes) {
  const TestClient client = Connect();
  Turn();
  HandOver();
  reaper_->End(kProgram, FakeReaper::Killed(SIGSEGV));
  Turn();
  Advance(kGrace);
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), ElementsAre(SIGTERM, SIGCONT));
  reaper_->End(last_pid_, FakeReaper::Killed(SIGTERM));
  EXPECT_THAT(Step(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(supervisor_->last_status()->signal(), SIGSEGV);
}

TEST_F(SupervisorUpgradeTest, PassesARequestOfTheNewProgramOn) {
  const TestClient client = Connect();
  Turn();
  HandOver();
  EXPECT_THAT(link_.Send({GenerationLink::Kind::kStop, 0, 1}), IsOk());
  Turn();
  EXPECT_EQ(LinkMessage(), GenerationLink::Kind::kStop) << "as all are asked";
  Advance(kGrace);
  Turn();
  EXPECT_THAT(reaper_->signals_to(last_pid_), ElementsAre(SIGTERM, SIGCONT));
}

TEST_F(SupervisorUpgradeTest,
       EndsTheNewProgramIfItIsNotReadyWhenTheServerStops) {
  requests_->RequestUpgrade();
  Turn();
  requests_->RequestStop();
  Turn();
  EXPECT_THAT(reaper_->signals_to(kProgram), ElementsAre(SIGKILL));
}

TEST_F(SupervisorUpgradeTest, StartsNoProgramWhileItStops) {
  const TestClient client = Connect();
  Turn();
  requests_->RequestStop();
  Turn();
  requests_->RequestUpgrade();
  Turn();
  EXPECT_THAT(reaper_->pids(), ElementsAre(last_pid_));
}

class SupervisorWithServiceManagerTest : public SupervisorFixture {
 protected:
  SupervisorWithServiceManagerTest() {
    options_.notify_socket = dir_.File("notify");
    Create();
  }

  // Returns the next notification to the service manager; empty if there is
  // none.
  std::string Notified() const {
    return receiver_.NextWord(absl::ZeroDuration());
  }

  const ShortDir dir_;
  const FakeServiceManager receiver_{dir_.Socket("notify")};
};

TEST_F(SupervisorWithServiceManagerTest, NotifiesItOnceOfTheStartAndTheStop) {
  const TestClient client = Connect();
  EXPECT_EQ(Notified(), "");
  Turn();
  EXPECT_EQ(Notified(), "READY=1");
  Turn();
  EXPECT_EQ(Notified(), "");
  requests_->RequestStop();
  Turn();
  EXPECT_EQ(Notified(), "STOPPING=1");
  Turn();
  EXPECT_EQ(Notified(), "");
}

}  // namespace
}  // namespace brood::server
