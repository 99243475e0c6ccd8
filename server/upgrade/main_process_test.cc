// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/main_process.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/proc/child.h"
#include "brood/proc/program.h"
#include "brood/server/control/service_manager.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/upgrade/generation_link.h"
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
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Kind = GenerationLink::Kind;
using Role = Generations::Role;

// A main process whose programs are not processes: the test plays each of them,
// with its end of the link.
class MainProcessTest : public ::brood::testing::LeakCheck {
 protected:
  static constexpr pid_t kFirst = 101;

  MainProcessTest() {
    options_.upgrade.command = {"/program", "--flag"};
    auto manager = ServiceManager::Create("", &log_);
    EXPECT_THAT(manager, IsOk());
    manager_ = *std::move(manager);
    main_ = std::make_unique<MainProcess>(
        options_, manager_.get(), &reaper_, &log_,
        [this](const proc::Program& program) { return StartProgram(program); });
  }

  absl::StatusOr<proc::Child> StartProgram(const proc::Program& program) {
    program_ = program;
    if (!start_status_.ok()) return start_status_;
    links_.push_back(GenerationLink::Adopt(
        net::Socket::Adopt(fcntl(program.fds.back(), F_DUPFD_CLOEXEC, 3))));
    return proc::Child::Adopt(kFirst + static_cast<pid_t>(links_.size()) - 1);
  }

  // Makes the first generation take over from this process.
  void HandOver() {
    EXPECT_THAT(main_->Start({{STDERR_FILENO}, ""}), IsOkAndHolds(kFirst));
    EXPECT_FALSE(main_->HandOver(kFirst));
  }
  // Makes the newest generation ask for the next program, which is started.
  // Returns its pid.
  pid_t StartNext() {
    GenerationLink& newest = links_.back();
    EXPECT_THAT(newest.Send({Kind::kDescriptor}, "", STDOUT_FILENO), IsOk());
    EXPECT_THAT(newest.Send({Kind::kStart}, "entry\n"), IsOk());
    main_->Attend();
    return kFirst + static_cast<pid_t>(links_.size()) - 1;
  }
  // Makes the last generation take over from the one before it.
  void TakeOver() {
    const pid_t pid = kFirst + static_cast<pid_t>(links_.size()) - 1;
    EXPECT_THAT(links_[links_.size() - 2].Send({Kind::kTookOver, pid}), IsOk());
    main_->Attend();
  }
  // Ends the process `pid`. Returns its role.
  Role End(pid_t pid, const proc::ExitStatus& status = FakeReaper::Exited(0)) {
    reaper_.End(pid, status);
    Role role = Role::kCandidate;
    for (const proc::Reaper::Ended& ended : reaper_.CleanupChildren(now_)) {
      role = main_->Ended(ended.pid, ended.status);
    }
    links_[static_cast<size_t>(pid - kFirst)].Close();
    return role;
  }
  // Returns the kinds of the messages that the generation `index` gets.
  std::vector<Kind> MessagesTo(size_t index) {
    std::vector<Kind> kinds;
    while (const auto message = links_[index].Receive()) {
      kinds.push_back(message->kind);
    }
    return kinds;
  }

  Options options_;
  EventLog log_{LogLevel::kOff};
  FakeReaper reaper_;
  net::Instant now_ = net::Instant() + std::chrono::hours(1000);
  std::unique_ptr<ServiceManager> manager_;
  proc::Program program_;
  absl::Status start_status_;
  // The ends of the links of the programs, in the order of their start.
  std::vector<GenerationLink> links_;
  std::unique_ptr<MainProcess> main_;
};

TEST_F(MainProcessTest, StartsTheCommandWithALink) {
  EXPECT_EQ(main_->fd(), -1);
  EXPECT_THAT(main_->Start({{STDOUT_FILENO, STDERR_FILENO}, "one\n"}),
              IsOkAndHolds(kFirst));
  EXPECT_EQ(program_.path, "/program");
  EXPECT_THAT(program_.arguments, ElementsAre("/program", "--flag"));
  EXPECT_THAT(program_.environment, Contains("BROOD_UPGRADE=one\n"));
  EXPECT_THAT(program_.environment, Contains("BROOD_MAIN_PROCESS=5"));
  EXPECT_THAT(program_.kept_if_ignored, ElementsAre(SIGHUP, SIGINT, SIGQUIT));
  EXPECT_GE(main_->fd(), 0);
}

TEST_F(MainProcessTest, ReturnsWhyAProgramWasNotStarted) {
  start_status_ = absl::NotFoundError("posix_spawn /program");
  EXPECT_EQ(main_->Start({{STDERR_FILENO}, ""}).status(), start_status_);
  EXPECT_THAT(reaper_.pids(), IsEmpty());
}

TEST_F(MainProcessTest, KeepsTheGenerationThatHasTakenOver) {
  HandOver();
  EXPECT_THAT(reaper_.pids(), ElementsAre(kFirst)) << "to wait for it";
  EXPECT_FALSE(main_->last_status());
  EXPECT_EQ(End(kFirst, FakeReaper::Exited(3)), Role::kNewest);
  ASSERT_TRUE(main_->last_status());
  EXPECT_EQ(main_->last_status()->code(), 3);
}

TEST_F(MainProcessTest, LetsNoDeadCandidateTakeOver) {
  EXPECT_THAT(main_->Start({{STDERR_FILENO}, ""}), IsOkAndHolds(kFirst));
  reaper_.End(kFirst, FakeReaper::Exited(1));
  const auto status = main_->HandOver(kFirst);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code(), 1);
  EXPECT_THAT(reaper_.pids(), IsEmpty());
  EXPECT_THAT(main_->Start({{STDERR_FILENO}, ""}), IsOkAndHolds(kFirst + 1))
      << "the next one";
  EXPECT_EQ(End(kFirst + 1), Role::kCandidate);
}

TEST_F(MainProcessTest, StartsTheNextProgramForTheNewestGeneration) {
  HandOver();
  const pid_t next = StartNext();
  EXPECT_EQ(next, kFirst + 1);
  EXPECT_THAT(program_.fds, ::testing::SizeIs(2)) << "its descriptor, the link";
  EXPECT_THAT(program_.environment, Contains("BROOD_UPGRADE=entry\n"));
  EXPECT_THAT(MessagesTo(0), ElementsAre(Kind::kStarted));
  TakeOver();
  EXPECT_EQ(End(kFirst), Role::kOld) << "its connections have ended";
  EXPECT_EQ(End(next), Role::kNewest);
}

TEST_F(MainProcessTest, ReportsToTheGenerationThatTheNextProgramFailed) {
  HandOver();
  start_status_ = absl::NotFoundError("posix_spawn /program");
  StartNext();
  auto message = links_[0].Receive();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->kind, Kind::kNotStarted);
  EXPECT_EQ(message->text, "posix_spawn /program");

  start_status_ = absl::OkStatus();
  const pid_t next = StartNext();
  EXPECT_EQ(End(next, FakeReaper::Killed(SIGSEGV)), Role::kOld);
  EXPECT_EQ(links_[0].Receive()->kind, Kind::kStarted);
  message = links_[0].Receive();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->kind, Kind::kEnded);
  EXPECT_EQ(message->pid, next);
  EXPECT_EQ(message->value, SIGSEGV);
}

TEST_F(MainProcessTest, StartsOneProgramAtATime) {
  HandOver();
  const pid_t next = StartNext();
  EXPECT_THAT(links_[0].Send({Kind::kStart}, ""), IsOk());
  main_->Attend();
  EXPECT_EQ(links_.size(), 2u);
  EXPECT_THAT(MessagesTo(0), ElementsAre(Kind::kStarted, Kind::kNotStarted));
  EXPECT_THAT(links_[0].Send({Kind::kKill, next + 1}), IsOk());
  main_->Attend();
  EXPECT_THAT(reaper_.signals_to(next), IsEmpty()) << "another one";
  EXPECT_THAT(links_[0].Send({Kind::kKill, next}), IsOk());
  main_->Attend();
  EXPECT_THAT(reaper_.signals_to(next), ElementsAre(SIGKILL));
}

TEST_F(MainProcessTest, KillsNoGenerationForAnother) {
  HandOver();
  StartNext();
  TakeOver();
  EXPECT_THAT(links_[0].Send({Kind::kKill, kFirst + 1}), IsOk());
  main_->Attend();
  EXPECT_THAT(reaper_.signals_to(kFirst + 1), IsEmpty());
}

TEST_F(MainProcessTest, PassesAnUpgradeToTheNewest) {
  EXPECT_TRUE(main_->Route({0, true}).upgrade) << "it is the newest itself";
  HandOver();
  EXPECT_FALSE(main_->Route({0, true}).upgrade);
  EXPECT_THAT(MessagesTo(0), ElementsAre(Kind::kUpgrade));
  StartNext();
  TakeOver();
  MessagesTo(0);
  EXPECT_THAT(links_[0].Send({Kind::kUpgrade}), IsOk());
  EXPECT_FALSE(main_->Attend().upgrade);
  EXPECT_THAT(MessagesTo(0), IsEmpty());
  EXPECT_THAT(MessagesTo(1), ElementsAre(Kind::kUpgrade));
}

TEST_F(MainProcessTest, RefusesTooManyGenerations) {
  HandOver();
  for (int i = 0; i < Generations::kMostOld; ++i) {
    StartNext();
    TakeOver();
    EXPECT_FALSE(main_->Route({0, true}).upgrade);
    if (i + 1 < Generations::kMostOld) {
      EXPECT_THAT(MessagesTo(links_.size() - 1), ElementsAre(Kind::kUpgrade));
    }
  }
  EXPECT_THAT(MessagesTo(links_.size() - 1), IsEmpty()) << "8 have connections";
  End(kFirst);
  main_->Route({0, true});
  EXPECT_THAT(MessagesTo(links_.size() - 1), ElementsAre(Kind::kUpgrade));
}

// A signal to every process of the server counts as one request.
TEST_F(MainProcessTest, CountsTheMostRequestsOfOneSource) {
  HandOver();
  StartNext();
  TakeOver();
  EXPECT_EQ(main_->Route({1, false}).stops, 1);
  for (GenerationLink& each : links_) {
    EXPECT_THAT(each.Send({Kind::kStop, 0, 1}), IsOk());
  }
  EXPECT_EQ(main_->Attend().stops, 0);
  EXPECT_THAT(links_[1].Send({Kind::kStop, 0, 1}), IsOk());
  EXPECT_EQ(main_->Attend().stops, 1) << "the second of that one";
  EXPECT_EQ(main_->Route({1, false}).stops, 0);
  EXPECT_EQ(main_->Route({2, false}).stops, 2);
}

TEST_F(MainProcessTest, StopsAllAndKillsThemLater) {
  HandOver();
  StartNext();
  MessagesTo(0);
  main_->StopAll();
  EXPECT_THAT(MessagesTo(0), ElementsAre(Kind::kStop));
  EXPECT_THAT(MessagesTo(1), ElementsAre(Kind::kStop));
  main_->KillAll(now_);
  EXPECT_THAT(reaper_.signals_to(kFirst), IsEmpty());
  now_ = net::After(now_, MainProcess::kLastDelay - absl::Nanoseconds(1));
  main_->KillAll(now_);
  EXPECT_THAT(reaper_.signals_to(kFirst), IsEmpty());
  now_ = net::After(now_, absl::Nanoseconds(1));
  main_->KillAll(now_);
  EXPECT_THAT(reaper_.signals_to(kFirst), ElementsAre(SIGKILL));
  EXPECT_THAT(reaper_.signals_to(kFirst + 1), ElementsAre(SIGKILL));
}

TEST_F(MainProcessTest, PromotesTheCandidateOfANewestThatDied) {
  HandOver();
  const pid_t next = StartNext();
  EXPECT_EQ(End(kFirst, FakeReaper::Killed(SIGKILL)), Role::kOld);
  EXPECT_FALSE(main_->last_status()) << "the service goes on";
  EXPECT_EQ(End(next, FakeReaper::Exited(4)), Role::kNewest);
  EXPECT_EQ(main_->last_status()->code(), 4);
}

TEST_F(MainProcessTest, PromotesNoCandidateWhileItStops) {
  HandOver();
  const pid_t next = StartNext();
  EXPECT_EQ(main_->Route({1, false}).stops, 1);
  EXPECT_EQ(End(kFirst, FakeReaper::Exited(0)), Role::kNewest);
  EXPECT_EQ(End(next, FakeReaper::Killed(SIGKILL)), Role::kOld);
  EXPECT_EQ(main_->last_status()->code(), 0) << "not that of the candidate";
}

TEST_F(MainProcessTest, IgnoresAnUnknownProcess) {
  EXPECT_EQ(main_->Ended(4711, FakeReaper::Exited(0)), Role::kOld);
  main_->Kill(4711);
}

}  // namespace
}  // namespace brood::server
