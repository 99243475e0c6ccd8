// SPDX-License-Identifier: Apache-2.0

// What a new program can do wrong, while clients connect and close: no client
// notices, and the old program serves on.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/server/handler.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Returns the fields of an event whose error is `why`.
LoggedEvent::Fields Because(const std::string& why) {
  return {{"error.message", why}};
}

class UpgradeFaultsTest : public StrategyTest {
 protected:
  // Starts a server whose new program will be `script`, run by the shell.
  std::unique_ptr<TestServer> StartServerWith(const std::string& script,
                                              TestServer::Setup setup = {}) {
    setup.options.upgrade.command = {"/bin/sh", "-c", script};
    return StartServer(std::move(setup));
  }

  // Serves one client after the other until the upgrade has failed, and returns
  // that event.
  absl::StatusOr<LoggedEvent> ServeUntilItFailed(TestServer& server) {
    absl::StatusOr<LoggedEvent> failed = absl::UnknownError("");
    Await([&] {
      EXPECT_THAT(ConnectTo(server).Echo("meanwhile"), IsOk());
      failed = server.AwaitEvent("upgrade-failed", absl::ZeroDuration());
      return failed.ok();
    });
    return failed;
  }

  // Requests an upgrade of `server` while it serves a client. Expects that the
  // upgrade fails because of `why`, and that this client and others are served.
  void ExpectFailure(TestServer& server, const std::string& why) {
    TestClient held = ConnectTo(server);
    EXPECT_THAT(held.Echo("before"), IsOk());
    server.Signal(SIGUSR2);
    const absl::StatusOr<LoggedEvent> failed = ServeUntilItFailed(server);
    ASSERT_THAT(failed, IsOk());
    EXPECT_EQ(failed->Text("log.level"), "error");
    EXPECT_THAT(failed->Text("error.message"), HasSubstr(why));
    EXPECT_THAT(held.Echo("after"), IsOk());
    EXPECT_THAT(ConnectTo(server).Echo("and others"), IsOk());
    held.Close();
    const TestServer::Report report = StopAndExpectClean(server);
    EXPECT_EQ(report.totals.crashed + report.totals.killed, 0u)
        << "a child of the old program was killed or crashed:\n"
        << report.log;
  }
};

TEST_P(UpgradeFaultsTest, ServesOnIfTheProgramIsMissing) {
  TestServer::Setup setup;
  setup.options.upgrade.command = {"/no/such/program"};
  const auto server = StartServer(std::move(setup));
  ExpectFailure(*server, "posix_spawn /no/such/program: No such file");
}

TEST_P(UpgradeFaultsTest, ServesOnIfTheFileCannotBeExecuted) {
  const std::string path = ::testing::TempDir() + "/not_executable";
  close(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  TestServer::Setup setup;
  setup.options.upgrade.command = {path};
  const auto server = StartServer(std::move(setup));
  ExpectFailure(*server, "not_executable: Permission denied");
}

TEST_P(UpgradeFaultsTest, ServesOnIfTheProgramExitsWithAnError) {
  const auto server = StartServerWith("exit 1");
  ExpectFailure(*server, "exited with code 1 before it was ready");
}

TEST_P(UpgradeFaultsTest, ServesOnIfTheProgramExitsWithZero) {
  const auto server = StartServerWith("exit 0");
  ExpectFailure(*server, "exited with code 0 before it was ready");
}

TEST_P(UpgradeFaultsTest, ServesOnIfTheProgramHangs) {
  TestServer::Setup setup;
  setup.options.upgrade.timeout = absl::Milliseconds(100);
  const auto server =
      StartServerWith("trap '' TERM; sleep 1000 & wait", std::move(setup));
  ExpectFailure(*server, "was not ready within 100ms (upgrade.timeout)");
}

TEST_P(UpgradeFaultsTest, ServesOnIfTheProgramCrashesAtOnce) {
  const auto server = StartServerWith("kill -SEGV $$");
  ExpectFailure(*server, "SIGSEGV (Segmentation fault) before it was ready");
}

// Writes 01 00 00 00 00 00 00 00: the notification that the program is ready.
constexpr char kNotifyReady[] =
    "printf '\\001\\000\\000\\000\\000\\000\\000\\000' >&3; ";

TEST_P(UpgradeFaultsTest, ServesOnIfTheProgramCrashesJustAfterItWasReady) {
  const auto server =
      StartServerWith(absl::StrCat(kNotifyReady, "sleep 0.05; kill -SEGV $$"));
  ExpectFailure(*server, "SIGSEGV (Segmentation fault) just after it was");
}

TEST_P(UpgradeFaultsTest, ServesOnIfTheProgramSendsAWrongNotification) {
  TestServer::Setup setup;
  setup.options.upgrade.timeout = absl::Milliseconds(100);
  const auto server =
      StartServerWith("printf x >&3; sleep 1000 & wait", std::move(setup));
  ExpectFailure(*server, "was not ready within 100ms");
}

// The listeners stay open, so clients of the new program wait in their queues.
TEST_P(UpgradeFaultsTest, ServesClientsThatConnectedWhileTheProgramFailed) {
  const auto server =
      StartServerWith(absl::StrCat(kNotifyReady, "sleep 0.1; exit 3"));
  server->Signal(SIGUSR2);
  ASSERT_THAT(server->AwaitEvent("upgrade-ready"), IsOk());
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Echo("waits until the new one has failed"), IsOk());
  const absl::StatusOr<LoggedEvent> failed =
      server->AwaitEvent("upgrade-failed");
  ASSERT_THAT(failed, IsOk());
  EXPECT_THAT(failed->Text("error.message"),
              HasSubstr("exited with code 3 just after"));
  client.Close();
  StopAndExpectClean(*server);
}

TEST_P(UpgradeFaultsTest, CountsEachFailure) {
  Shared<uint64_t> failures;
  TestServer::Setup setup;
  setup.options.upgrade.command = {"/no/such/program"};
  setup.run = [&](server::TcpServer& server) {
    absl::Status stopped = server.Run();
    *failures = server.upgrades_failed();
    return stopped;
  };
  const auto server = StartServer(std::move(setup));
  for (int n = 1; n <= 6; ++n) {
    server->Signal(n % 2 == 0 ? SIGHUP : SIGUSR2);
    EXPECT_THAT(
        server->AwaitEvent("upgrade-failed", {{"brood.upgrade.failures", n}}),
        IsOk());
  }
  StopAndExpectClean(*server);
  EXPECT_EQ(*failures, 6u);
}

TEST_P(UpgradeFaultsTest, AllowsOneUpgradeAtATime) {
  const auto server = StartServerWith("sleep 1000 & wait");
  server->Signal(SIGUSR2);
  ASSERT_THAT(server->AwaitEvent("upgrade-started"), IsOk());
  for (int i = 0; i < 100; ++i) server->Signal(SIGUSR2);
  ASSERT_THAT(
      server->AwaitEvent("upgrade-ignored", Because("an upgrade is already in "
                                                    "progress")),
      IsOk());
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_THAT(EventsOf(report.log, "upgrade-ignored",
                       Because("this server is stopping")),
              Not(IsEmpty()));
  EXPECT_THAT(EventsOf(report.log, "upgrade-started"), SizeIs(1));
}

TEST_P(UpgradeFaultsTest, StartsNoProgramWhileItStops) {
  const auto server = StartServerWith("exit 1");
  TestClient held = ConnectTo(*server);
  EXPECT_THAT(held.Echo("hello"), IsOk());
  server->Signal(SIGTERM);
  ASSERT_THAT(server->AwaitEvent("draining"), IsOk());
  server->Signal(SIGUSR2);
  EXPECT_THAT(
      server->AwaitEvent("upgrade-ignored", Because("this server is stopping")),
      IsOk());
  held.Close();
  const TestServer::Report report = server->AwaitExit();
  ExpectClean(report);
  EXPECT_THAT(EventsOf(report.log, "upgrade-started"), IsEmpty());
}

TEST_P(UpgradeFaultsTest, LogsThatItHasNoUpgradeCommand) {
  TestServer::Setup setup;
  setup.run = [](server::TcpServer& server) {
    // The server does not use these signals.
    for (int signal : {SIGHUP, SIGUSR2}) {
      EXPECT_EQ(std::signal(signal, SIG_DFL), SIG_DFL);
    }
    server.RequestUpgrade();
    return server.Run();
  };
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(server->AwaitEvent("upgrade-ignored",
                                 Because("upgrade.command is empty")),
              IsOk());
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  StopAndExpectClean(*server);
}

INSTANTIATE_TEST_SUITE_P(With, UpgradeFaultsTest, EachStrategy(),
                         StrategyName());

}  // namespace
}  // namespace brood::testing
