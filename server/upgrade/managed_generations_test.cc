// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/managed_generations.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/child.h"
#include "brood/proc/program.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/generations.h"
#include "brood/testing/fakes/captured_log.h"
#include "brood/testing/fakes/fake_reaper.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeReaper;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// The older programs are real processes, which do nothing; the test plays the
// new one.
class ManagedGenerationsTest : public ::brood::testing::LeakCheck {
 protected:
  static constexpr pid_t kNew = 4711;

  ManagedGenerationsTest() { options_.upgrade.command = {"/program"}; }
  ~ManagedGenerationsTest() override {
    for (const pid_t pid : older_) End(pid);
  }

  // Creates the generations of a program that has replaced `count` others.
  void Create(int count) {
    std::vector<net::UniqueFd> pidfds;
    for (int i = 0; i < count; ++i) {
      const pid_t pid = fork();
      if (pid == 0) {
        for (;;) pause();
      }
      older_.push_back(pid);
      pidfds.push_back(net::UniqueFd::Adopt(
          static_cast<int>(syscall(SYS_pidfd_open, pid, 0))));
      EXPECT_TRUE(pidfds.back().valid());
    }
    auto manager = ServiceManager::Create("", &log_);
    EXPECT_THAT(manager, IsOk());
    manager_ = *std::move(manager);
    generations_ = std::make_unique<ManagedGenerations>(
        options_, std::move(pidfds), manager_.get(), &reaper_, &log_,
        [this](const proc::Program& program) -> absl::StatusOr<proc::Child> {
          program_ = program;
          return proc::Child::Adopt(kNew);
        });
  }

  // Waits for the end of `pid`, after sending it a signal unless it got one
  // already. Returns the signal that ended it.
  static int End(pid_t pid) {
    kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
    return WTERMSIG(status);
  }
  static int SignalThatEnded(pid_t pid) {
    siginfo_t info = {};
    waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
    return info.si_status;
  }

  Options options_;
  EventLog log_{LogLevel::kOff};
  FakeReaper reaper_;
  net::Instant now_ = net::Instant() + std::chrono::hours(1000);
  std::unique_ptr<ServiceManager> manager_;
  proc::Program program_;
  std::vector<pid_t> older_;
  std::unique_ptr<ManagedGenerations> generations_;
};

TEST_F(ManagedGenerationsTest, PassesThePidfdsOfOlderProgramsAndItsOwn) {
  Create(2);
  EXPECT_THAT(generations_->Start({{STDERR_FILENO}, "one\n"}),
              IsOkAndHolds(kNew));
  EXPECT_THAT(program_.fds, SizeIs(1 + 3));
  EXPECT_THAT(program_.environment, Contains("BROOD_OLDER=4,5,6"));
  EXPECT_THAT(program_.environment,
              Not(Contains(StartsWith("BROOD_MAIN_PROCESS="))));
}

TEST_F(ManagedGenerationsTest, StopsOlderProgramsAndWaitsForThem) {
  Create(2);
  EXPECT_EQ(generations_->awaited(), 2u);
  generations_->StopAll();
  for (const pid_t pid : older_) EXPECT_EQ(SignalThatEnded(pid), SIGTERM);
  generations_->Attend();
  EXPECT_EQ(generations_->awaited(), 0u);
}

TEST_F(ManagedGenerationsTest, KillsThemLater) {
  Create(1);
  const siginfo_t none = {};
  generations_->KillAll(now_);
  generations_->KillAll(
      net::After(now_, Generations::kLastDelay - absl::Nanoseconds(1)));
  siginfo_t info = {};
  waitid(P_PID, static_cast<id_t>(older_[0]), &info,
         WEXITED | WNOWAIT | WNOHANG);
  EXPECT_EQ(info.si_pid, none.si_pid) << "not yet";
  generations_->KillAll(net::After(now_, Generations::kLastDelay));
  EXPECT_EQ(SignalThatEnded(older_[0]), SIGKILL);
}

TEST_F(ManagedGenerationsTest, LeavesOlderProgramsToTheNewOne) {
  Create(1);
  EXPECT_THAT(generations_->Start({{STDERR_FILENO}, ""}), IsOkAndHolds(kNew));
  EXPECT_FALSE(generations_->HandOver(kNew));
  EXPECT_THAT(reaper_.pids(), IsEmpty()) << "the new one is on its own";
  EXPECT_EQ(generations_->awaited(), 0u);
  generations_->StopAll();
  generations_->KillAll(now_);
  generations_->KillAll(net::After(now_, Generations::kLastDelay));
  EXPECT_EQ(End(older_[0]), SIGKILL) << "by this test";
  older_.clear();
}

TEST_F(ManagedGenerationsTest, RefusesAnUpgradeWhileTooManyHaveConnections) {
  Create(Generations::kMostOld);
  EXPECT_FALSE(generations_->Route({0, true}).upgrade);
  EXPECT_EQ(generations_->Route({2, true}).stops, 2);
  kill(older_[0], SIGKILL);
  SignalThatEnded(older_[0]);
  EXPECT_TRUE(generations_->Route({0, true}).upgrade);
}

}  // namespace
}  // namespace brood::server
