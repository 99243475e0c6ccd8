// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/program_launcher.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/io.h"
#include "brood/server/exec/executed_program.h"
#include "brood/server/options.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/fakes/strategy_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::StrategyFixture;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ProgramLauncherTest : public StrategyFixture {
 protected:
  ProgramLauncherTest() {
    program_to_execute_.path = "/usr/bin/env";
    program_to_execute_.arguments = {"env"};
    program_to_execute_.variables = {"LASTING=1"};
    program_to_execute_.descriptors = {STDIN_FILENO, STDOUT_FILENO};
  }

  // The exit signal of the reaper, which does not handle it in these tests.
  ~ProgramLauncherTest() override {
    std::signal(reaper_.exit_signal(), SIG_DFL);
  }

  void SetUp() override {
    std::signal(reaper_.exit_signal(), SIG_IGN);
    if (!Output()) GTEST_SKIP() << "no program can be launched here";
  }

  ProgramLauncher Make() {
    StrategyEnvironment with_program = environment();
    with_program.executed = &program_to_execute_;
    ProgramLauncher launcher = ProgramLauncher::For(options_, with_program);
    launcher.Prepare();
    return launcher;
  }

  // Launches the program once. Returns what it wrote to its client; nothing if
  // it was not launched.
  absl::optional<std::string> Output() {
    ProgramLauncher launcher = Make();
    auto pair = ConnectionPair::Create();
    EXPECT_THAT(pair, IsOk());
    auto child = launcher.Launch(pair->connection);
    pair->connection.Close();
    if (!child || !child->ok()) return absl::nullopt;
    std::string output;
    char buffer[4096];
    ssize_t size = 0;
    while ((size = read(pair->client.fd(), buffer, sizeof(buffer))) > 0) {
      output.append(buffer, static_cast<size_t>(size));
    }
    const pid_t pid = std::move(**child).Release();
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, nullptr, __WALL)), pid);
    launcher.ChildEnded(0, pid, events_);
    return output;
  }

  // Undoes `change`, a function that makes every child fork.
  void ExpectFork(const std::function<void()>& change) {
    const Options options = options_;
    const ExecutedProgram program = program_to_execute_;
    change();
    EXPECT_FALSE(Output());
    options_ = options;
    program_to_execute_ = program;
    EXPECT_TRUE(Output()) << "without the change";
  }

  Options options_;
  ExecutedProgram program_to_execute_;
};

TEST_F(ProgramLauncherTest, GivesAProgramTheVariablesOfItsConnection) {
  EXPECT_THAT(*Output(), StartsWith("LASTING=1\nPROTO=TCP\n"));
  program_to_execute_.extra = ExecutedProgram::Extra::kRemoteHost;
  EXPECT_THAT(*Output(), HasSubstr("REMOTE_HOST=127.0.0.1\n"));
}

TEST_F(ProgramLauncherTest, PassesOnHowTheProgramIsExecuted) {
  program_to_execute_.path = "/bin/sh";
  program_to_execute_.arguments = {
      "sh", "-c",
      "trap 'echo handled' ALRM; kill -ALRM $$; pwd; "
      "read pid name state parent group session rest < /proc/$$/stat; "
      "test $session = $pid && echo session"};
  program_to_execute_.directory = "/proc";
  program_to_execute_.begins_session = true;
  EXPECT_EQ(*Output(), "handled\n/proc\nsession\n");
}

TEST_F(ProgramLauncherTest, LaunchesNothingForAFunction) {
  ProgramLauncher launcher = ProgramLauncher::For(options_, environment());
  EXPECT_FALSE(launcher.Launch(Connect()));
  launcher.Prepare();
  launcher.ChildEnded(0, getpid(), events_);
}

// Each of these needs code of the server, or of the embedder, in the child.
TEST_F(ProgramLauncherTest, LaunchesNothingIfTheChildHasMoreToDo) {
  ExpectFork([&] { options_.prepare_child = [] { return absl::OkStatus(); }; });
  ExpectFork([&] { options_.handler_reports = true; });
  ExpectFork([&] { options_.child_stderr = ChildStderr::kOwn; });
  ExpectFork([&] { options_.child_stderr = ChildStderr::kNull; });
  ExpectFork([&] {
    options_.hardening.oom_score_adj = 100;
    options_.hardening.oom_score_with_fork = true;
  });
  ExpectFork(
      [&] { program_to_execute_.extra = ExecutedProgram::Extra::kListenFds; });
}

TEST_F(ProgramLauncherTest, LaunchesWithOptionsThatChangeNothing) {
  options_.child_stderr = ChildStderr::kShared;
  EXPECT_TRUE(Output());
  options_.hardening.oom_score_adj = 0;
  options_.hardening.oom_score_with_fork = true;
  EXPECT_TRUE(Output());
}

TEST_F(ProgramLauncherTest, LingersIfTheProgramCannotBeExecuted) {
  program_to_execute_.path = "/no/such/program";
  options_.linger = absl::Seconds(60);
  ProgramLauncher launcher = Make();
  auto pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  auto child = launcher.Launch(pair->connection);
  pair->connection.Close();
  ASSERT_TRUE(child && child->ok());
  const pid_t pid = std::move(**child).Release();
  char byte;
  EXPECT_EQ(read(pair->client.fd(), &byte, 1), 0);
  siginfo_t info = {};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info,
                   WEXITED | WNOHANG | WNOWAIT | __WALL),
            0);
  EXPECT_EQ(info.si_pid, 0) << "it waits for the end of the client";
  pair->client.Close();
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, nullptr, __WALL)), pid);
  launcher.ChildEnded(0, pid, events_);
  EXPECT_THAT(events_.Take(), ::testing::ElementsAre("peer of 0"));
}

TEST_F(ProgramLauncherTest, EndsProgramsWithTheServerIfThatIsAskedFor) {
  program_to_execute_.path = "/bin/cat";
  options_.on_parent_death = OnParentDeath::kDie;
  // The process that makes the launcher ends first.
  auto pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  const pid_t server = fork();
  if (server == 0) {
    ProgramLauncher launcher = Make();
    const auto child = launcher.Launch(pair->connection);
    char byte;
    const bool runs =
        child && child->ok() && read(pair->client.fd(), &byte, 1) == 1;
    _exit(runs ? 0 : 1);
  }
  EXPECT_THAT(net::WriteFull(pair->client, "x"), IsOk());
  pair->connection.Close();
  int status = -1;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(server, &status, 0)), server);
  EXPECT_PRED1(::testing::ExitedWithCode(0), status);
  char byte;
  EXPECT_EQ(read(pair->client.fd(), &byte, 1), 0) << "the program has ended";
}

}  // namespace
}  // namespace brood::server
