// SPDX-License-Identifier: Apache-2.0

// One program takes over from another: no client notices, whether it connects
// before or after. With the real program, for each strategy.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
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

using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class UpgradeTest : public LeakCheck,
                    public ::testing::WithParamInterface<StrategyRow> {
 protected:
  UpgradeTest() { program_ = ServerProgram::Path(); }

  std::unique_ptr<ServerProgram> Start(std::vector<std::string> flags = {}) {
    std::vector<std::string> command = {
        program_, absl::StrCat("--strategy=", GetParam().name())};
    for (std::string& flag : flags) command.push_back(std::move(flag));
    auto server = ServerProgram::Start(std::move(command));
    if (!server.ok()) throw std::runtime_error(server.status().ToString());
    return *std::move(server);
  }

  static TestClient ConnectTo(const ServerProgram& server) {
    absl::StatusOr<TestClient> client = TestClient::Connect(server.endpoint());
    if (!client.ok()) throw std::runtime_error(client.status().ToString());
    return *std::move(client);
  }

  static void Upgrade(ServerProgram& server) {
    server.Signal(SIGUSR2);
    ASSERT_THAT(server.AwaitSuccessor(), IsOk());
  }

  // Returns a directory of this test, in which it may replace programs.
  static std::string OwnDirectory() {
    std::string path = absl::StrCat(::testing::TempDir(), "/XXXXXX");
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    return path;
  }

  std::string program_;
};

TEST_P(UpgradeTest, ServesByTheSameListenerAfterAnUpgrade) {
  const auto server = Start();
  EXPECT_THAT(ConnectTo(*server).Echo("the old one"), IsOk());
  Upgrade(*server);
  EXPECT_THAT(ConnectTo(*server).Echo("the new one"), IsOk());
  EXPECT_THAT(server->generations(), SizeIs(2));
  EXPECT_THAT(server->Stop(), IsOk());
}

TEST_P(UpgradeTest, LeavesConnectionsWithTheOldProgram) {
  const auto server = Start();
  TestClient held = ConnectTo(*server);
  EXPECT_THAT(held.Echo("before"), IsOk());
  Upgrade(*server);
  EXPECT_THAT(ConnectTo(*server).Echo("the new one"), IsOk());
  EXPECT_THAT(held.Echo("after"), IsOk());
  held.Close();
  EXPECT_THAT(server->Stop(), IsOk());
}

// The row R43. The environment variable UPGRADES sets the number of upgrades,
// such as 50 in 30 s for the figure of the row.
TEST_P(UpgradeTest, LosesNoClientDuringUpgrades) {
  const char* const number = std::getenv("UPGRADES");
  const int upgrades = number != nullptr ? std::atoi(number) : 5;
  const auto server = Start({"--log_level=info", "--max_connections=100"});
  const net::Instant start = net::Now();
  LoadClients clients(server->endpoint(), /*clients=*/8);
  for (int i = 1; i <= upgrades; ++i) {
    Upgrade(*server);
    if (HasFatalFailure()) break;
    // If the number is given, each generation serves for 600 ms: 50 in 30 s.
    const net::Instant next = net::After(start, i * absl::Milliseconds(600));
    if (number != nullptr) {
      LetPass(std::max(absl::ZeroDuration(), net::TimeUntil(next, net::Now())));
    }
  }
  clients.Stop();
  EXPECT_THAT(clients.first_failure(), IsOk());
  EXPECT_THAT(server->Stop(), IsOk());
  for (pid_t pid : server->generations()) {
    EXPECT_THAT(EventsOf(server->log().All(), "ended", {{"process.pid", pid}}),
                Not(IsEmpty()))
        << "a generation that served no client";
  }
  EXPECT_THAT(server->generations(), SizeIs(upgrades + 1));
  std::printf(
      "%s: %d upgrades, %d connections, %s\n", GetParam().name().c_str(),
      upgrades, clients.served(),
      absl::FormatDuration(absl::FromChrono(net::Now() - start)).c_str());
}

// SIGUSR2 during an upgrade is ignored. After the upgrade it is for the newest
// program. SIGTERM ends all programs.
TEST_P(UpgradeTest, StartsOneGenerationAfterTheOtherAtManyRequests) {
  const auto server = Start();
  {
    LoadClients clients(server->endpoint(), /*clients=*/8);
    for (int i = 0; i < 100; ++i) {
      server->Signal(SIGUSR2);
      LetPass(absl::Milliseconds(10));
      // Empties the pipe, because events are lost when it is full.
      server->log().Read();
    }
    clients.Stop();
    EXPECT_THAT(clients.first_failure(), IsOk());
  }
  EXPECT_THAT(server->AwaitSuccessor(), IsOk());
  EXPECT_THAT(server->Stop(), IsOk());
  EXPECT_THAT(server->generations(), SizeIs(Ge(2u)));
  EXPECT_LE(server->started().size(), server->generations().size())
      << "more than one program was started and has not taken over";
}

// A request to stop is for both programs.
TEST_P(UpgradeTest, StopsAProgramThatHasNotTakenOverYet) {
  const auto server = Start();
  server->Signal(SIGUSR2);
  ASSERT_THAT(server->log().AwaitEvent("upgrade-ready", absl::Seconds(10)),
              IsOk());
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Echo("by the new one"), IsOk());
  server->Signal(SIGTERM);
  ASSERT_THAT(server->log().AwaitEvents(2, "draining", absl::Seconds(10)),
              IsOk())
      << "both";
  EXPECT_THAT(client.Echo("until it is done"), IsOk());
  client.Close();
  EXPECT_THAT(server->AwaitExit(), IsOk());
  EXPECT_THAT(server->generations(), SizeIs(1));
}

TEST_P(UpgradeTest, StartsTheProgramThatIsAtThePath) {
  const std::string directory = OwnDirectory();
  const std::string current = directory + "/current";
  ASSERT_EQ(symlink(program_.c_str(), current.c_str()), 0);
  const std::string original = std::exchange(program_, current);
  const auto server = Start();
  // The new version writes its number before it becomes the server.
  const std::string next = directory + "/next";
  std::ofstream(next) << "#!/bin/sh\necho 'version 2' >&2\nexec " << original
                      << " \"$@\"\n";
  chmod(next.c_str(), 0755);
  ASSERT_EQ(rename(next.c_str(), current.c_str()), 0);
  Upgrade(*server);
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  EXPECT_THAT(server->log().All(), HasSubstr("version 2"));
  EXPECT_THAT(server->Stop(), IsOk());
}

TEST_P(UpgradeTest, ServesOnIfItsProgramWasRemovedAndLogsItsPath) {
  const std::string directory = OwnDirectory();
  const std::string current = directory + "/current";
  ASSERT_EQ(symlink(program_.c_str(), current.c_str()), 0);
  program_ = current;
  const auto server = Start();
  ASSERT_EQ(unlink(current.c_str()), 0);
  server->Signal(SIGUSR2);
  const absl::StatusOr<LoggedEvent> failed =
      server->log().AwaitEvent("upgrade-failed", absl::Seconds(10));
  ASSERT_THAT(failed, IsOk());
  EXPECT_THAT(failed->Text("error.message"),
              HasSubstr("current: No such file"));
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(ConnectTo(*server).Echo("as before"), IsOk());
  }
  EXPECT_THAT(server->Stop(), IsOk());
}

// The new program uses the flags that the file has at the upgrade.
TEST_P(UpgradeTest, ReadsTheFlagfileAgain) {
  const std::string flagfile = OwnDirectory() + "/flags";
  std::ofstream(flagfile) << "--max_connections=1000\n";
  const auto server = Start({"--flagfile=" + flagfile});
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  const absl::StatusOr<LoggedEvent> before =
      server->log().AwaitEvent("ended", absl::Seconds(10));
  ASSERT_THAT(before, IsOk());
  EXPECT_GT(before->Number("brood.cap"), 7) << "1000, or that of a pool";
  std::ofstream(flagfile) << "--max_connections=7\n";
  Upgrade(*server);
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  EXPECT_THAT(
      server->log().AwaitEvent("ended", {{"brood.cap", 7}}, absl::Seconds(10)),
      IsOk());
  EXPECT_THAT(server->Stop(), IsOk());
}

// The row R59.
TEST_P(UpgradeTest, ServesOnIfTheNewConfigurationIsWrong) {
  const std::vector<std::string> broken = {
      "--max_connections=0", "--max_connections=many",
      "--no_such_flag",      "--listen=nonsense",
      "--listen=",           "--strategy=threads",
      "--drain_grace=10",    "--drain_grace=-1s",
      "--max_size=0",        "--backlog=-1",
      "--log_level=loud",    "--min_spares=0",
      "--max_spares=1",      "--workers=0",
      "--idle_timeout=soon", "--connection_timeout=-1s",
      "--peer_timeout=10h",  "--upgrade_timeout=never",
      "--flagfile=/no/such", "--listen=203.0.113.1:80",
  };
  const std::string flagfile = OwnDirectory() + "/flags";
  std::ofstream(flagfile) << "\n";
  const auto server = Start({"--flagfile=" + flagfile});
  LoadClients clients(server->endpoint(), /*clients=*/8);
  int failures = 0;
  for (const std::string& flag : broken) {
    std::ofstream(flagfile) << flag << "\n";
    server->Signal(++failures % 2 == 0 ? SIGHUP : SIGUSR2);
    ASSERT_THAT(server->log().AwaitEvent("upgrade-failed",
                                         {{"brood.upgrade.failures", failures}},
                                         absl::Seconds(10)),
                IsOk())
        << flag;
  }
  clients.Stop();
  EXPECT_THAT(clients.first_failure(), IsOk());
  EXPECT_THAT(server->Stop(), IsOk());
  EXPECT_THAT(server->generations(), SizeIs(1));
}

INSTANTIATE_TEST_SUITE_P(With, UpgradeTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
