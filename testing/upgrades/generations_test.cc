// SPDX-License-Identifier: Apache-2.0

// However many upgrades there were, the process that was started first is the
// one to stop and to wait for, and no upgrade ends a connection (O4, O6). With
// the real program, for each strategy.
//
// Related cases that are tried here: a signal to any generation,
// and to all processes of the group; a newest generation that crashes; a main
// process that is killed; a supervisor in Bash and one in Python, which starts
// the service again when it ends; and the main process as PID 1 of its
// namespace.

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/load_clients.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr absl::Duration kTimeout = absl::Seconds(20);

class GenerationsTest : public LeakCheck,
                        public ::testing::WithParamInterface<StrategyRow> {
 protected:
  // Starts the server with `flags`, or a program that starts it.
  static std::unique_ptr<ServerProgram> Start(
      std::vector<std::string> flags = {},
      const std::string& program = ServerProgram::Path()) {
    std::vector<std::string> command = {
        program, absl::StrCat("--strategy=", GetParam().name())};
    for (std::string& flag : flags) command.push_back(std::move(flag));
    auto server = ServerProgram::Start(std::move(command));
    if (!server.ok()) throw std::runtime_error(server.status().ToString());
    return *std::move(server);
  }

  // Returns a client that is being served by the newest generation.
  static TestClient Connect(const ServerProgram& server) {
    absl::StatusOr<TestClient> client = TestClient::Connect(server.endpoint());
    if (!client.ok()) throw std::runtime_error(client.status().ToString());
    EXPECT_THAT(client->Echo("hello"), IsOk());
    return *std::move(client);
  }

  // Sends `signal` to `pid`, and waits for the upgrade that follows.
  static void UpgradeBy(ServerProgram& server, pid_t pid,
                        int signal = SIGUSR2) {
    ASSERT_EQ(kill(pid, signal), 0);
    ASSERT_THAT(server.AwaitSuccessor(), IsOk());
  }

  // Writes the Bash script `text` to an executable file. Returns its path.
  static std::string Script(const std::string& name, const std::string& text) {
    std::string path =
        absl::StrCat(::testing::TempDir(), "/", name, GetParam().name());
    std::ofstream(path) << "#!/bin/bash\n" << text;
    EXPECT_EQ(chmod(path.c_str(), 0755), 0);
    return path;
  }

  // Returns whether the process `pid` exists, if only as a zombie.
  static bool Exists(pid_t pid) { return kill(pid, 0) == 0; }
};

TEST_P(GenerationsTest, StopByTheProcessThatWasStarted) {
  const auto server = Start();
  for (int i = 0; i < 3; ++i) UpgradeBy(*server, server->main_pid());
  EXPECT_THAT(server->generations(), SizeIs(4));
  EXPECT_THAT(Connect(*server).Echo("to the fourth"), IsOk());
  // The generations in between have no connections, and have ended.
  for (size_t i = 1; i < 3; ++i) {
    const pid_t old = server->generations()[i];
    EXPECT_TRUE(Await([&] { return !Exists(old); }, kTimeout)) << i;
  }
  EXPECT_TRUE(Exists(server->main_pid()));
  ASSERT_EQ(kill(server->main_pid(), SIGTERM), 0);
  EXPECT_THAT(server->AwaitExit(), IsOk());
}

TEST_P(GenerationsTest, StopAtASignalToAnyGeneration) {
  const auto server = Start();
  TestClient first = Connect(*server);
  UpgradeBy(*server, server->main_pid());
  TestClient second = Connect(*server);
  UpgradeBy(*server, server->pid(), SIGHUP);
  TestClient third = Connect(*server);
  UpgradeBy(*server, server->generations()[1]) /* the middle one */;
  EXPECT_THAT(server->generations(), SizeIs(4));
  ASSERT_EQ(kill(server->generations()[1], SIGTERM), 0);
  ASSERT_THAT(server->log().AwaitEvents(4 + 3, "draining", kTimeout), IsOk())
      << "four at the stop, and three at the upgrades";
  for (TestClient* client : {&first, &second, &third}) {
    EXPECT_THAT(client->Echo("in the grace"), IsOk());
    client->Close();
  }
  EXPECT_THAT(server->AwaitExit(), IsOk());
}

// Ctrl-C signals each process of the terminal's foreground group, and pkill
// each process of the name. That is one request to stop, not several.
TEST_P(GenerationsTest, TreatASignalToAllOfThemAsOneRequest) {
  const auto server = Start();
  TestClient first = Connect(*server);
  UpgradeBy(*server, server->main_pid());
  TestClient second = Connect(*server);
  for (const pid_t pid : server->generations()) {
    ASSERT_EQ(kill(pid, SIGTERM), 0);
  }
  ASSERT_THAT(server->log().AwaitEvents(2 + 1, "draining", kTimeout), IsOk());
  for (TestClient* client : {&first, &second}) {
    EXPECT_THAT(client->Echo("in the grace"), IsOk());
    client->Close();
  }
  EXPECT_THAT(EventsOf(server->log().All(), "terminating"), IsEmpty());
  EXPECT_THAT(server->AwaitExit(), IsOk());
}

// O4: an upgrade has no grace; only a stop has one.
TEST_P(GenerationsTest, KeepConnectionsThroughUpgrades) {
  const auto server = Start({"--drain_grace=0s"});
  std::vector<TestClient> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(Connect(*server));
    UpgradeBy(*server, server->main_pid());
  }
  for (TestClient& client : clients) {
    EXPECT_THAT(client.Echo("still there"), IsOk());
  }
  EXPECT_THAT(EventsOf(server->log().All(), "terminating"), IsEmpty());
  ASSERT_EQ(kill(server->main_pid(), SIGTERM), 0);
  EXPECT_THAT(server->AwaitExit(), IsOk())
      << "the stop must end all generations";
}

TEST_P(GenerationsTest, RefuseAnUpgradeWithEightOldOnes) {
  const auto server = Start();
  std::vector<TestClient> clients;
  UpgradeBy(*server, server->main_pid());
  for (int i = 0; i < 8; ++i) {
    clients.push_back(Connect(*server));
    UpgradeBy(*server, server->main_pid());
  }
  ASSERT_EQ(kill(server->main_pid(), SIGUSR2), 0);
  const auto ignored = server->log().AwaitEvent("upgrade-ignored", kTimeout);
  ASSERT_THAT(ignored, IsOk());
  EXPECT_THAT(ignored->Text("error.message"), HasSubstr("8 earlier programs"));
  EXPECT_THAT(clients.front().Echo("still there"), IsOk());
  clients.front().Close();
  const pid_t oldest = server->generations()[1];
  EXPECT_TRUE(Await([&] { return !Exists(oldest); }, kTimeout));
  UpgradeBy(*server, server->main_pid());
  EXPECT_THAT(server->generations(), SizeIs(11));
  clients.clear();
  EXPECT_THAT(server->Stop(), IsOk());
}

TEST_P(GenerationsTest, EndWithTheStatusOfTheLastOne) {
  const auto server = Start();
  UpgradeBy(*server, server->main_pid());
  ASSERT_EQ(kill(server->pid(), SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(server->main_pid(), &status, 0), server->main_pid());
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_THAT(
      server->log().AwaitEvent("generation-ended",
                               {{"brood.exit.signal", SIGKILL}}, kTimeout),
      IsOk());
}

TEST_P(GenerationsTest, LeaveNoProcessIfKilledAndChildrenAreToDie) {
  const auto server = Start({"--on_parent_death=die"});
  TestClient first = Connect(*server);
  UpgradeBy(*server, server->main_pid());
  TestClient second = Connect(*server);
  UpgradeBy(*server, server->main_pid());
  TestClient third = Connect(*server);
  ASSERT_EQ(kill(server->main_pid(), SIGKILL), 0);
  for (TestClient* client : {&first, &second, &third}) {
    EXPECT_TRUE(Await([&] { return !client->Echo("hello").ok(); }, kTimeout));
  }
  const auto ended = server->AwaitExit();
  EXPECT_FALSE(absl::StrContains(ended.message(), "some did not end")) << ended;
}

TEST_P(GenerationsTest, LeaveThePortFreeIfKilled) {
  const auto server = Start();
  UpgradeBy(*server, server->main_pid());
  TestClient client = Connect(*server);
  UpgradeBy(*server, server->main_pid());
  TestClient other = Connect(*server);
  ASSERT_EQ(kill(server->main_pid(), SIGKILL), 0);
  ASSERT_THAT(server->log().AwaitEvents(2, "main-process-ended", kTimeout),
              IsOk());
  EXPECT_TRUE(Await(
      [&] { return !TestClient::Connect(server->endpoint()).ok(); }, kTimeout));
  EXPECT_THAT(client.Echo("children finish"), IsOk());
  EXPECT_THAT(other.Echo("children finish"), IsOk());
  client.Close();
  other.Close();
  const auto ended = server->AwaitExit();
  EXPECT_FALSE(absl::StrContains(ended.message(), "some did not end")) << ended;
}

// A supervisor of some lines, in Bash and in Python: it starts the server,
// waits for its end, passes SIGTERM on, and would start it again.
TEST_P(GenerationsTest, ShowASupervisorNoEnd) {
  const std::string in_bash =
      Script("bash_", absl::StrCat("trap 'kill -TERM $child' TERM\n",
                                   ServerProgram::Path(),
                                   " \"$@\" & child=$!\n"
                                   "wait $child; wait $child\n"
                                   "echo \"it ended with $?\" >&2\n"));
  const std::string in_python = Script(
      "python_",
      absl::StrCat("exec python3 -c '\n"
                   "import signal, subprocess, sys\n"
                   "child = subprocess.Popen(sys.argv[1:])\n"
                   "signal.signal(signal.SIGTERM, lambda *_: "
                   "child.terminate())\n"
                   "print(\"it ended with\", child.wait(), file=sys.stderr)\n"
                   "' ",
                   ServerProgram::Path(), " \"$@\"\n"));
  for (const std::string& supervisor : {in_bash, in_python}) {
    const auto server = Start({}, supervisor);
    const auto listening = server->log().AwaitEvent("listening", kTimeout);
    ASSERT_THAT(listening, IsOk());
    const auto main_pid = static_cast<pid_t>(listening->Number("process.pid"));
    for (int i = 0; i < 3; ++i) {
      UpgradeBy(*server, main_pid);
      EXPECT_THAT(Connect(*server).Echo("served"), IsOk());
    }
    EXPECT_FALSE(server->log().TryTake("it ended"));
    ASSERT_EQ(kill(server->main_pid(), SIGTERM), 0);
    EXPECT_THAT(server->log().Await("it ended with 0", kTimeout), IsOk())
        << supervisor;
    server->AwaitExit().IgnoreError();  // the supervisor logs no totals
  }
}

// PID 1 cannot be ended by a signal that it does not handle, and its end is
// that of its namespace.
TEST_P(GenerationsTest, AreUpgradedAsPid1) {
  if (std::system("unshare --user --map-root-user --pid --fork true") != 0) {
    GTEST_SKIP() << "no namespaces here";
  }
  // A leak checker finds no process in a /proc of another namespace.
  const std::string starter = Script(
      "pid1_", absl::StrCat("export ASAN_OPTIONS=detect_leaks=0\n"
                            "exec unshare --user --map-root-user --pid --fork ",
                            ServerProgram::Path(), " \"$@\"\n"));
  const auto server = Start({}, starter);
  const std::vector<pid_t> started = DescendantsOf(server->main_pid());
  ASSERT_THAT(started, Not(IsEmpty()));
  const pid_t main_pid = started.front();
  UpgradeBy(*server, main_pid);
  UpgradeBy(*server, main_pid, SIGHUP);
  EXPECT_THAT(Connect(*server).Echo("served"), IsOk());
  std::vector<pid_t> left;
  ASSERT_TRUE(Await(
      [&] {
        left = ChildrenOf(absl::StrCat(main_pid));
        return left.size() == 1 || GetParam().name() != "fork";
      },
      kTimeout))
      << "the generation in between has ended";
  if (left.size() != 1) {
    ASSERT_EQ(kill(main_pid, SIGTERM), 0);
  } else {
    ASSERT_EQ(kill(left.front(), SIGKILL), 0)
        << "cannot kill the newest generation";
  }
  int status = 0;
  ASSERT_EQ(waitpid(server->main_pid(), &status, 0), server->main_pid());
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), left.size() == 1 ? 128 + SIGKILL : 0);
}

INSTANTIATE_TEST_SUITE_P(With, GenerationsTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
