// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/upgrade.h"

#include <sys/eventfd.h>
#include <sys/types.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/child.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/generations.h"
#include "brood/server/upgrade/managed_generations.h"
#include "brood/server/vocabulary/child_tag.h"
#include "brood/testing/fakes/captured_log.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/fake_service_manager.h"
#include "brood/testing/support/short_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::CapturedLog;
using ::brood::testing::FakeReaper;
using ::brood::testing::FakeServiceManager;
using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr pid_t kPid = 4711;
constexpr absl::Duration kTimeout = absl::Seconds(30);

// An upgrade whose new program the test plays. The clock stands still until a
// test moves it.
class UpgradeTest : public ::brood::testing::LeakCheck {
 protected:
  explicit UpgradeTest(bool with_command = true) {
    if (with_command) options_.upgrade.command = {"/program", "--flag"};
    options_.upgrade.timeout = kTimeout;
    Create(&log_);
  }

  // Creates the upgrade by `options_`.
  void Create(EventLog* log) {
    auto manager = ServiceManager::Create(options_.notify_socket, log);
    ASSERT_THAT(manager, IsOk());
    manager_ = *std::move(manager);
    const auto start =
        [this](const proc::Program& program) -> absl::StatusOr<proc::Child> {
      program_ = program;
      ++started_;
      if (!start_status_.ok()) return start_status_;
      return proc::Child::Adopt(kPid);
    };
    generations_ = std::make_unique<ManagedGenerations>(
        options_, std::vector<net::UniqueFd>(), manager_.get(), &reaper_, log,
        start);
    auto upgrade =
        Upgrade::Create(options_, manager_.get(), generations_.get(), log);
    ASSERT_THAT(upgrade, IsOk());
    upgrade_ = *std::move(upgrade);
  }

  void Start() { upgrade_->Start({}, now_); }
  // Reports that the new program is ready, as the program does with the
  // inherited descriptor.
  void ReportReady() { eventfd_write(upgrade_->fd(), 1); }
  bool Step() { return upgrade_->Step(now_); }
  void Advance(absl::Duration by) { now_ = net::After(now_, by); }
  void End(const proc::ExitStatus& status) {
    reaper_.End(kPid, status);
    for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now_)) {
      EXPECT_EQ(ended.tag, ChildTag::Program().Pack());
      upgrade_->Ended(ended.status, now_);
    }
  }

  Options options_;
  EventLog log_{LogLevel::kOff};
  FakeReaper reaper_;
  net::Instant now_ = net::Instant() + std::chrono::hours(1000);
  std::unique_ptr<ServiceManager> manager_;
  proc::Program program_;
  int started_ = 0;
  absl::Status start_status_;
  std::unique_ptr<Generations> generations_;
  std::unique_ptr<Upgrade> upgrade_;
};

class UpgradeWithoutCommandTest : public UpgradeTest {
 protected:
  UpgradeWithoutCommandTest() : UpgradeTest(/*with_command=*/false) {}
};

TEST_F(UpgradeWithoutCommandTest, IsRefused) {
  EXPECT_EQ(upgrade_->fd(), -1);
  Start();
  EXPECT_EQ(started_, 0);
  EXPECT_EQ(upgrade_->failures(), 0u);
  EXPECT_EQ(upgrade_->deadline(), net::Never());
}

TEST_F(UpgradeTest, StartsTheCommandWithAVariableForTheNewProgram) {
  Start();
  EXPECT_EQ(program_.path, "/program");
  EXPECT_THAT(program_.arguments, ElementsAre("/program", "--flag"));
  EXPECT_THAT(program_.environment, Contains(StartsWith("BROOD_UPGRADE=")));
  EXPECT_THAT(program_.environment,
              Not(Contains(StartsWith("NOTIFY_SOCKET="))));
  EXPECT_THAT(program_.blocked_signals, ElementsAre(SIGHUP, SIGUSR2))
      << "until it listens to them";
  EXPECT_EQ(reaper_.tag_of(kPid), ChildTag::Program().Pack());
  EXPECT_FALSE(upgrade_->other_accepts());
}

TEST_F(UpgradeTest, StopsAcceptingWhenTheNewProgramIsReady) {
  Start();
  EXPECT_FALSE(Step());
  EXPECT_FALSE(upgrade_->other_accepts());
  ReportReady();
  EXPECT_FALSE(Step()) << "it must live for a moment first";
  EXPECT_TRUE(upgrade_->other_accepts());
  EXPECT_EQ(upgrade_->deadline(), net::After(now_, Upgrade::kProof));
  Advance(Upgrade::kProof);
  EXPECT_TRUE(Step());
  EXPECT_THAT(reaper_.pids(), IsEmpty()) << "it is on its own now";
  EXPECT_EQ(upgrade_->deadline(), net::Never());
  EXPECT_FALSE(Step()) << "once";
  EXPECT_TRUE(upgrade_->other_accepts());
  EXPECT_EQ(upgrade_->failures(), 0u);
}

TEST_F(UpgradeTest, KillsAProgramThatIsNotReadyInTime) {
  Start();
  Advance(kTimeout - absl::Milliseconds(1));
  EXPECT_FALSE(Step());
  EXPECT_THAT(reaper_.signals_to(kPid), IsEmpty());
  Advance(absl::Milliseconds(1));
  EXPECT_FALSE(Step());
  EXPECT_THAT(reaper_.signals_to(kPid), ElementsAre(SIGKILL));
  EXPECT_EQ(upgrade_->failures(), 0u) << "it has not ended yet";
  End(FakeReaper::Killed(SIGKILL));
  EXPECT_EQ(upgrade_->failures(), 1u);
}

TEST_F(UpgradeTest, FailsWhenTheNewProgramEndsBeforeItIsReady) {
  Start();
  End(FakeReaper::Exited(100));
  EXPECT_EQ(upgrade_->failures(), 1u);
  EXPECT_FALSE(upgrade_->other_accepts());
  EXPECT_EQ(upgrade_->deadline(), net::Never());
}

TEST_F(UpgradeTest, AcceptsAgainWhenTheNewProgramEndsJustAfterItWasReady) {
  Start();
  ReportReady();
  Step();
  EXPECT_TRUE(upgrade_->other_accepts());
  End(FakeReaper::Killed(SIGSEGV));
  EXPECT_FALSE(upgrade_->other_accepts());
  EXPECT_EQ(upgrade_->failures(), 1u);
}

// The end of the new program is not known yet when it should take over.
TEST_F(UpgradeTest, IsNotHandedToAProgramThatHasEnded) {
  Start();
  ReportReady();
  Step();
  reaper_.End(kPid, FakeReaper::Exited(1));
  Advance(Upgrade::kProof);
  EXPECT_FALSE(Step());
  EXPECT_FALSE(upgrade_->other_accepts());
  EXPECT_EQ(upgrade_->failures(), 1u);
}

TEST_F(UpgradeTest, IgnoresANotificationThatCameTooLate) {
  Start();
  const int notifications = upgrade_->fd();
  End(FakeReaper::Exited(1));
  EXPECT_EQ(upgrade_->fd(), -1);
  eventfd_write(notifications, 1);  // of the program that has ended
  Start();
  Step();
  EXPECT_FALSE(upgrade_->other_accepts());
}

// F10: a notification that is late would be readable permanently.
TEST_F(UpgradeTest, IsPolledOnlyWhileANotificationIsAwaited) {
  EXPECT_EQ(upgrade_->fd(), -1);
  Start();
  const int notifications = upgrade_->fd();
  EXPECT_GE(notifications, 0);
  ReportReady();
  Step();
  EXPECT_EQ(upgrade_->fd(), -1) << "it must live for kProof first";
  eventfd_write(notifications, 1);
  Advance(Upgrade::kProof);
  EXPECT_TRUE(Step());
  EXPECT_EQ(upgrade_->fd(), -1) << "it has taken over";
}

TEST_F(UpgradeTest, RunsOneAtATime) {
  Start();
  Start();
  EXPECT_EQ(started_, 1);
  End(FakeReaper::Exited(1));
  Start();
  EXPECT_EQ(started_, 2);
}

TEST_F(UpgradeTest, CountsAProgramThatCannotBeStarted) {
  start_status_ = absl::NotFoundError("posix_spawn /program");
  Start();
  EXPECT_EQ(upgrade_->failures(), 1u);
  EXPECT_THAT(reaper_.pids(), IsEmpty());
}

// A new program that accepts has connections to finish; one that does not is
// killed.
TEST_F(UpgradeTest, EndsTheNewProgramWhenTheServerStops) {
  Start();
  upgrade_->Abandon();
  EXPECT_THAT(reaper_.signals_to(kPid), ElementsAre(SIGKILL));
  End(FakeReaper::Killed(SIGKILL));
  EXPECT_EQ(upgrade_->failures(), 0u) << "it was cancelled";
}

TEST_F(UpgradeTest, HasNothingToAbandonIfNoProgramWasStarted) {
  upgrade_->Abandon();
  Start();
  EXPECT_EQ(started_, 1);
}

TEST_F(UpgradeTest, TerminatesTheNewProgramThatAcceptsWhenTheServerStops) {
  Start();
  ReportReady();
  Step();
  upgrade_->Abandon();
  EXPECT_THAT(reaper_.signals_to(kPid), ElementsAre(SIGTERM));
  End(FakeReaper::Killed(SIGTERM));
}

// Its report may be read only after the reaper has returned its end.
TEST_F(UpgradeTest, LogsThatAProgramWasReadyBeforeItEnded) {
  CapturedLog captured;
  Create(&captured.log());
  Start();
  ReportReady();
  End(FakeReaper::Exited(1));
  EXPECT_THAT(captured.End(), ElementsAre("upgrade-started", "upgrade-ready",
                                          "upgrade-failed"));
  upgrade_.reset();  // it uses that log
}

class UpgradeWithServiceManagerTest : public UpgradeTest {
 protected:
  UpgradeWithServiceManagerTest() {
    options_.notify_socket = dir_.File("notify");
    Create(&log_);
  }

  // Returns the next notification to the service manager; empty if there is
  // none.
  std::string Notified() const {
    return receiver_.NextWord(absl::ZeroDuration());
  }

  const ShortDir dir_;
  const FakeServiceManager receiver_{dir_.Socket("notify")};
};

TEST_F(UpgradeWithServiceManagerTest, NotifiesItOfAProgramThatTakesOver) {
  Start();
  EXPECT_THAT(program_.environment,
              Contains(absl::StrCat("NOTIFY_SOCKET=", dir_.File("notify"))));
  EXPECT_THAT(Notified(), StartsWith("RELOADING=1\n"));
  ReportReady();
  Step();
  EXPECT_EQ(Notified(), "");
  Advance(Upgrade::kProof);
  EXPECT_TRUE(Step());
  EXPECT_EQ(Notified(), absl::StrCat("MAINPID=", kPid, "\nREADY=1"));
}

TEST_F(UpgradeWithServiceManagerTest, NotifiesItOfAnUpgradeThatFailed) {
  Start();
  EXPECT_THAT(Notified(), StartsWith("RELOADING=1\n"));
  End(FakeReaper::Exited(1));
  EXPECT_EQ(Notified(), "READY=1");
}

}  // namespace
}  // namespace brood::server
