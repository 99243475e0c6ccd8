// SPDX-License-Identifier: Apache-2.0

// Tests an upgrade of a program that a main process has started: the pid of the
// new program is known only when the main process has reported it.

#include <sys/eventfd.h>
#include <sys/types.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/generations.h"
#include "brood/server/upgrade/upgrade.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// RecordedGenerations records the calls to it.
class RecordedGenerations final : public Generations {
 public:
  absl::StatusOr<pid_t> Start(const Handshake::Offer& offer) override {
    ready_fd = offer.fds.front();
    return 0;
  }
  void Kill(pid_t pid) override { killed.push_back(pid); }
  void StopCandidate(pid_t pid) override { stopped.push_back(pid); }
  absl::optional<proc::ExitStatus> HandOver(pid_t pid) override {
    handed_over.push_back(pid);
    return absl::nullopt;
  }
  Requests::Taken Route(Requests::Taken asked) override { return asked; }
  int fd() const override { return -1; }
  Messages Attend() override { return Messages(); }
  void StopAll() override {}
  void KillAll(net::Instant /*now*/) override {}
  Role Ended(pid_t /*pid*/, const proc::ExitStatus& /*status*/) override {
    return Role::kOld;
  }
  size_t awaited() const override { return 0; }
  absl::optional<proc::ExitStatus> last_status() const override {
    return absl::nullopt;
  }

  // Lent by the upgrade.
  int ready_fd = -1;
  std::vector<pid_t> killed, stopped, handed_over;
};

class UpgradeByMainProcessTest : public ::brood::testing::LeakCheck {
 protected:
  static constexpr pid_t kPid = 4711;

  UpgradeByMainProcessTest() {
    options_.upgrade.command = {"/program"};
    auto manager = ServiceManager::Create("", &log_);
    EXPECT_THAT(manager, IsOk());
    manager_ = *std::move(manager);
    auto upgrade =
        Upgrade::Create(options_, manager_.get(), &generations_, &log_);
    EXPECT_THAT(upgrade, IsOk());
    upgrade_ = *std::move(upgrade);
  }

  void Start() { upgrade_->Start({}, now_); }
  void ReportReady() const { eventfd_write(generations_.ready_fd, 1); }
  void Advance(absl::Duration by) { now_ = net::After(now_, by); }

  Options options_;
  EventLog log_{LogLevel::kOff};
  net::Instant now_ = net::Instant() + std::chrono::hours(1000);
  std::unique_ptr<ServiceManager> manager_;
  RecordedGenerations generations_;
  std::unique_ptr<Upgrade> upgrade_;
};

// The main process may be slower than the program that it has started.
TEST_F(UpgradeByMainProcessTest, WaitsUntilTheProgramIsKnown) {
  Start();
  ReportReady();
  EXPECT_EQ(upgrade_->fd(), -1) << "it would be readable all the time";
  EXPECT_FALSE(upgrade_->Step(now_));
  EXPECT_FALSE(upgrade_->other_accepts());
  upgrade_->Started(kPid);
  EXPECT_GE(upgrade_->fd(), 0);
  EXPECT_FALSE(upgrade_->Step(now_));
  EXPECT_TRUE(upgrade_->other_accepts());
  Advance(Upgrade::kProof);
  EXPECT_TRUE(upgrade_->Step(now_));
  EXPECT_THAT(generations_.handed_over, ElementsAre(kPid));
  EXPECT_THAT(generations_.killed, IsEmpty());
}

TEST_F(UpgradeByMainProcessTest, FailsIfTheProgramIsNotStarted) {
  Start();
  upgrade_->NotStarted(absl::AbortedError("posix_spawn /program"));
  EXPECT_TRUE(upgrade_->idle());
  EXPECT_EQ(upgrade_->failures(), 1u);
  upgrade_->NotStarted(absl::AbortedError("posix_spawn /program"));
  EXPECT_EQ(upgrade_->failures(), 1u) << "nothing was asked for";
}

TEST_F(UpgradeByMainProcessTest, KillsAProgramThatIsStartedTooLate) {
  Start();
  Advance(options_.upgrade.timeout);
  EXPECT_FALSE(upgrade_->Step(now_));
  EXPECT_TRUE(upgrade_->idle()) << "none is known that could be killed";
  EXPECT_EQ(upgrade_->failures(), 1u);
  upgrade_->Started(kPid);
  EXPECT_THAT(generations_.killed, ElementsAre(kPid));
  upgrade_->Ended(FakeReaper::Killed(9), now_);
  EXPECT_EQ(upgrade_->failures(), 1u) << "it is the same failure";
  EXPECT_TRUE(upgrade_->idle());
}

TEST_F(UpgradeByMainProcessTest, KillsAProgramOfAnEarlierRequest) {
  Start();
  Advance(options_.upgrade.timeout);
  upgrade_->Step(now_);
  Start();
  upgrade_->Started(kPid);  // the first one
  upgrade_->NotStarted(absl::AbortedError("one is being started already"));
  EXPECT_THAT(generations_.killed, ElementsAre(kPid));
  EXPECT_TRUE(upgrade_->idle());
}

TEST_F(UpgradeByMainProcessTest, LeavesAProgramThatAcceptsToTheStopOfAll) {
  Start();
  upgrade_->Started(kPid);
  ReportReady();
  upgrade_->Step(now_);
  upgrade_->Abandon();
  EXPECT_THAT(generations_.stopped, ElementsAre(kPid));
  EXPECT_THAT(generations_.killed, IsEmpty());
}

}  // namespace
}  // namespace brood::server
