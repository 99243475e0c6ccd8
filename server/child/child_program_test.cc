// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/child_program.h"

#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <functional>
#include <stdexcept>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::EventsOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

using Prepare = std::function<absl::Status()>;

const LingerSettings kNoLinger = {1024, absl::ZeroDuration()};

class ChildProgramTest : public ::brood::testing::LeakCheck {
 protected:
  ChildProgramTest() : pair_(*ConnectionPair::Create()) {}

  // Returns a program that counts what it does, and does not linger.
  ChildProgram Counting(Prepare prepare, LogLevel level = LogLevel::kOff) {
    log_.emplace(level);
    return ChildProgram(
        [this](net::Connection& /*connection*/) {
          ++served_;
          return ExitCode::kProtocolError;
        },
        kNoLinger, std::move(prepare), &*log_);
  }

  ConnectionPair pair_;
  absl::optional<EventLog> log_;
  int prepared_ = 0;
  int served_ = 0;
};

TEST_F(ChildProgramTest, NeedsNoPreparation) {
  const ChildProgram program = Counting(nullptr);
  EXPECT_FALSE(program.Begin());
  EXPECT_EQ(program.BeginAndServe(pair_.connection, 0), 4);
  EXPECT_EQ(served_, 1);
}

TEST_F(ChildProgramTest, PreparesOnceAndServesSeveralConnections) {
  const ChildProgram program = Counting([this] {
    EXPECT_EQ(served_, 0);
    ++prepared_;
    return absl::OkStatus();
  });
  EXPECT_FALSE(program.Begin());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(program.Serve(pair_.connection), 4);
  EXPECT_EQ(prepared_, 1);
  EXPECT_EQ(served_, 3);
}

TEST_F(ChildProgramTest, ServesNoClientIfPrepareChildFails) {
  const ChildProgram program =
      Counting([] { return absl::PermissionDeniedError("no"); });
  EXPECT_EQ(program.Begin(), 111);
  EXPECT_EQ(program.BeginAndServe(pair_.connection, 0), 111);
  EXPECT_EQ(served_, 0);
}

TEST_F(ChildProgramTest, ServesNoClientIfPrepareChildThrows) {
  for (const Prepare& throws :
       {Prepare([]() -> absl::Status { throw std::runtime_error("no"); }),
        Prepare([]() -> absl::Status { throw 7; })}) {
    const ChildProgram program = Counting(throws);
    EXPECT_EQ(program.BeginAndServe(pair_.connection, 0), 111);
  }
  EXPECT_EQ(served_, 0);
}

// The program was made in the process of the server, so only children of that
// process can begin.
TEST_F(ChildProgramTest,
       BeginsNothingIfItIsToDieWithAServerThatIsNotItsParent) {
  log_.emplace(LogLevel::kOff);
  const auto begins = [this](OnParentDeath on_parent_death, Prepare prepare) {
    const ChildProgram program(nullptr, kNoLinger, std::move(prepare), &*log_,
                               on_parent_death);
    const pid_t parent = fork();
    if (parent == 0) {
      const pid_t child = fork();
      if (child == 0) _exit(program.Begin().value_or(0));
      int status = -1;
      waitpid(child, &status, 0);
      _exit(WEXITSTATUS(status));
    }
    int status = -1;
    EXPECT_EQ(waitpid(parent, &status, 0), parent);
    return WEXITSTATUS(status);
  };
  EXPECT_EQ(begins(OnParentDeath::kDie, nullptr), 111);
  EXPECT_EQ(begins(OnParentDeath::kDie, absl::OkStatus), 111);
  EXPECT_EQ(begins(OnParentDeath::kFinish, absl::OkStatus), 0);
}

TEST_F(ChildProgramTest, LogsWhyItCouldNotBegin) {
  CaptureStderr();
  Counting([] { return absl::PermissionDeniedError("because"); },
           LogLevel::kInfo)
      .BeginAndServe(pair_.connection, 0);
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("because"));
}

TEST_F(ChildProgramTest, LogsWhichClientItServes) {
  CaptureStderr();
  Counting(nullptr, LogLevel::kInfo).BeginAndServe(pair_.connection, 0);
  EXPECT_THAT(GetCapturedStderr(),
              HasSubstr("serving " + pair_.connection.peer().ToString()));
}

TEST_F(ChildProgramTest, RecordsAnInvalidExitCodeAsABug) {
  const struct {
    int returned, recorded;
  } codes[] = {{255, 255},     {256, 101},     {-1, 101},
               {1 << 16, 101}, {INT_MAX, 101}, {INT_MIN, 101}};
  for (const auto& [returned, recorded] : codes) {
    CaptureStderr();  // before the log, which is the file that it finds
    log_.emplace(LogLevel::kInfo, LogFormat::kJson);
    const ChildProgram program(
        [code = returned](net::Connection& /*connection*/) {
          return static_cast<ExitCode>(code);
        },
        kNoLinger, nullptr, &*log_);
    EXPECT_EQ(program.BeginAndServe(pair_.connection, 0), recorded);
    EXPECT_THAT(EventsOf(GetCapturedStderr(), "bad-exit-code",
                         {{"brood.exit.code", returned}}),
                SizeIs(returned == recorded ? 0 : 1));
  }
}

TEST_F(ChildProgramTest, LogsTheMessageOfAnExceptionOfTheHandler) {
  CaptureStderr();
  log_.emplace(LogLevel::kWarning, LogFormat::kJson);
  const ChildProgram program(
      [](net::Connection& /*connection*/) -> ExitCode {
        throw std::runtime_error("no such table");
      },
      kNoLinger, nullptr, &*log_);
  EXPECT_EQ(program.BeginAndServe(pair_.connection, 0), 1);
  EXPECT_THAT(EventsOf(GetCapturedStderr(), "handler-threw",
                       {{"exception.message", "no such table"},
                        {"log.level", "warning"}}),
              SizeIs(1));
}

TEST_F(ChildProgramTest, ReportsAnExceptionOfTheHandlerAsItsFailure) {
  log_.emplace(LogLevel::kOff);
  const ChildProgram program(
      [](net::Connection& /*connection*/) -> ExitCode { throw 7; }, kNoLinger,
      nullptr, &*log_);
  EXPECT_EQ(program.BeginAndServe(pair_.connection, 0), 1);
}

}  // namespace
}  // namespace brood::server
