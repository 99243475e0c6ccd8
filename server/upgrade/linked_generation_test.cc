// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/linked_generation.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "absl/status/status.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using Kind = GenerationLink::Kind;

// The test plays the main process.
class LinkedGenerationTest : public ::brood::testing::LeakCheck {
 protected:
  static constexpr pid_t kPid = 4711;

  LinkedGenerationTest()
      : pair_(*GenerationLink::CreatePair()),
        main_(pair_.first),
        generation_(std::move(pair_.second)) {}

 private:
  std::pair<GenerationLink, GenerationLink> pair_;

 protected:
  GenerationLink& main_;
  LinkedGeneration generation_;
};

TEST_F(LinkedGenerationTest, PassesRequestsToTheMainProcess) {
  const Requests::Taken left = generation_.Route({2, true});
  EXPECT_EQ(left.stops, 0);
  EXPECT_FALSE(left.upgrade);
  auto message = main_.Receive();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->kind, Kind::kStop);
  EXPECT_EQ(message->value, 2);
  EXPECT_EQ(main_.Receive()->kind, Kind::kUpgrade);
  EXPECT_FALSE(main_.Receive());
  generation_.Route({0, false});
  EXPECT_FALSE(main_.Receive());
}

TEST_F(LinkedGenerationTest, FulfilsRequestsOfTheMainProcess) {
  main_.Send({Kind::kStop, 0, 1}).IgnoreError();
  main_.Send({Kind::kStop, 0, 2}).IgnoreError();
  main_.Send({Kind::kUpgrade}).IgnoreError();
  const Generations::Messages messages = generation_.Attend();
  EXPECT_EQ(messages.stops, 3);
  EXPECT_TRUE(messages.upgrade);
  EXPECT_FALSE(messages.main_process_ended);
  EXPECT_EQ(generation_.Attend().stops, 0) << "once";
}

TEST_F(LinkedGenerationTest, AsksForAProgramWithItsDescriptors) {
  EXPECT_THAT(generation_.Start({{STDOUT_FILENO, STDERR_FILENO}, "one\ntwo\n"}),
              IsOkAndHolds(0))
      << "not known yet";
  for (int i = 0; i < 2; ++i) {
    auto descriptor = main_.Receive();
    ASSERT_TRUE(descriptor);
    EXPECT_EQ(descriptor->kind, Kind::kDescriptor);
    EXPECT_TRUE(descriptor->descriptor.valid());
  }
  auto start = main_.Receive();
  ASSERT_TRUE(start);
  EXPECT_EQ(start->kind, Kind::kStart);
  EXPECT_EQ(start->text, "one\ntwo\n");

  main_.Send({Kind::kStarted, kPid}).IgnoreError();
  EXPECT_EQ(generation_.Attend().started, kPid);
  generation_.Kill(kPid);
  auto kill = main_.Receive();
  ASSERT_TRUE(kill);
  EXPECT_EQ(kill->kind, Kind::kKill);
  EXPECT_EQ(kill->pid, kPid);
  generation_.StopCandidate(kPid);
  EXPECT_FALSE(main_.Receive()) << "the main process stops it";
  EXPECT_FALSE(generation_.HandOver(kPid));
  EXPECT_EQ(main_.Receive()->kind, Kind::kTookOver);
}

TEST_F(LinkedGenerationTest, ReportsHowTheCandidateEnded) {
  main_.Send({Kind::kNotStarted}, "posix_spawn: no").IgnoreError();
  EXPECT_THAT(generation_.Attend().not_started,
              StatusIs(absl::StatusCode::kAborted, "posix_spawn: no"));
  main_.Send({Kind::kStarted, kPid}).IgnoreError();
  main_.Send({Kind::kEnded, kPid + 1, SIGSEGV}).IgnoreError();
  EXPECT_FALSE(generation_.Attend().ended) << "another one";
  main_.Send({Kind::kEnded, kPid, W_EXITCODE(7, 0)}).IgnoreError();
  const auto ended = generation_.Attend().ended;
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->code(), 7);
  main_.Send({Kind::kEnded, kPid, 0}).IgnoreError();
  EXPECT_FALSE(generation_.Attend().ended) << "once";
}

TEST_F(LinkedGenerationTest, IsOnItsOwnWhenTheMainProcessHasEnded) {
  main_.Close();
  EXPECT_TRUE(generation_.Attend().main_process_ended);
  EXPECT_FALSE(generation_.Attend().main_process_ended) << "once";
  EXPECT_EQ(generation_.fd(), -1);
  const Requests::Taken left = generation_.Route({2, true});
  EXPECT_EQ(left.stops, 2);
  EXPECT_TRUE(left.upgrade);
  EXPECT_THAT(generation_.Start({{STDERR_FILENO}, ""}),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(LinkedGenerationTest, HasNoRoleInWhatTheReaperReturns) {
  EXPECT_EQ(generation_.Ended(kPid, proc::ExitStatus::Unknown()),
            Generations::Role::kOld);
  EXPECT_FALSE(generation_.last_status());
}

}  // namespace
}  // namespace brood::server
