// SPDX-License-Identifier: Apache-2.0

// The upgrade of a service: its manager is notified of the main process, and
// listeners that are no TCP endpoints are passed on too.

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "brood/net/endpoint.h"
#include "brood/server/options.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/fake_service_manager.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/support/subreaper.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ServiceUpgradeTest : public ServerTest {
 protected:
  // Starts a server whose next program is the real one, with the same `listen`.
  std::unique_ptr<TestServer> StartWithNewProgram(
      const std::string& listen, std::vector<int> inherited = {}) {
    TestServer::Setup setup;
    setup.options.listen = {listen};
    setup.inherited = std::move(inherited);
    setup.options.notify_socket = std::string(notify_.path());
    setup.options.upgrade.command = {ServerProgram::Path(),
                                     absl::StrCat("--listen=", listen)};
    return StartServer(std::move(setup));
  }

  // Stops the new program and expects that it exits with 0. It is a child of
  // this process, a subreaper, once the old one has ended.
  static void StopAndReap(pid_t new_program) {
    kill(new_program, SIGTERM);
    int status = -1;
    EXPECT_EQ(waitpid(new_program, &status, __WALL), new_program);
    EXPECT_EQ(status, 0);
  }

  const ShortDir dir_;
  const net::Endpoint notify_ = dir_.Socket("notify");
  const FakeServiceManager manager_{notify_};

 private:
  const Subreaper subreaper_;
};

TEST_F(ServiceUpgradeTest, NotifiesTheManagerOfTheMainProcess) {
  const net::Endpoint endpoint = dir_.Socket("s");
  const auto server = StartWithNewProgram(endpoint.ToString());
  EXPECT_EQ(manager_.NextWord(), "READY=1");
  server->Signal(SIGHUP);
  EXPECT_THAT(manager_.NextWord(),
              ContainsRegex("^RELOADING=1\nMONOTONIC_USEC=[0-9]+"));
  EXPECT_EQ(manager_.NextWord(), "READY=1") << "sent by the new program";
  const std::string notification = manager_.NextWord();
  EXPECT_THAT(notification, StartsWith("MAINPID="));
  EXPECT_THAT(notification, HasSubstr("\nREADY=1"));
  ExpectClean(server->AwaitExit());

  pid_t new_program = 0;
  const std::string number = std::string(absl::StripSuffix(
      absl::StripPrefix(notification, "MAINPID="), "\nREADY=1"));
  ASSERT_TRUE(absl::SimpleAtoi(number, &new_program));
  {
    auto client = TestClient::Connect(endpoint);
    ASSERT_THAT(client, IsOk());
    EXPECT_THAT(client->Echo("by the same file"), IsOk());
  }
  StopAndReap(new_program);
  EXPECT_EQ(manager_.NextWord(), "STOPPING=1");
}

// A manager may send SIGTERM to the main process only, and kill the processes
// that are left when it has ended.
TEST_F(ServiceUpgradeTest, StopsTheOldProgramByTheNewOne) {
  const net::Endpoint endpoint = dir_.Socket("s");
  const auto server = StartWithNewProgram(endpoint.ToString());
  auto client = TestClient::Connect(endpoint);
  ASSERT_THAT(client, IsOk());
  EXPECT_THAT(client->Echo("by the old one"), IsOk());
  server->Signal(SIGHUP);
  const auto completed = server->AwaitEvent("upgrade-completed");
  ASSERT_THAT(completed, IsOk());
  const auto new_program =
      static_cast<pid_t>(completed->Number("brood.child.pid"));
  ASSERT_EQ(kill(new_program, SIGTERM), 0);
  ASSERT_THAT(server->AwaitEvent("draining", {{"brood.grace", 5'000'000'000}}),
              IsOk())
      << "the old program must have a grace now";
  EXPECT_THAT(client->Echo("in the grace"), IsOk());
  EXPECT_EQ(kill(new_program, 0), 0) << "it must wait";
  client->Close();
  ExpectClean(server->AwaitExit());
  int status = -1;
  EXPECT_EQ(waitpid(new_program, &status, __WALL), new_program);
  EXPECT_EQ(status, 0);
}

TEST_F(ServiceUpgradeTest, NotifiesTheManagerThatTheOldProgramStays) {
  TestServer::Setup setup;
  setup.options.notify_socket = std::string(notify_.path());
  setup.options.upgrade.command = {"/no/such/program"};
  const auto server = StartServer(std::move(setup));
  EXPECT_EQ(manager_.NextWord(), "READY=1");
  server->Signal(SIGUSR2);
  EXPECT_THAT(manager_.NextWord(), StartsWith("RELOADING=1"));
  EXPECT_EQ(manager_.NextWord(), "READY=1");
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  StopAndExpectClean(*server);
}

// In the new program the descriptor has another number.
TEST_F(ServiceUpgradeTest, PassesOnADescriptorThatIsListedByItsNumber) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(listen(listener, 64), 0);
  std::unique_ptr<TestServer> server;
  {
    const net::Socket ours = net::Socket::Adopt(listener);
    server = StartWithNewProgram(absl::StrCat("fd:", listener), {listener});
  }
  EXPECT_THAT(ConnectTo(*server).Echo("the old one"), IsOk());
  server->Signal(SIGUSR2);
  const absl::StatusOr<LoggedEvent> completed =
      server->AwaitEvent("upgrade-completed");
  ASSERT_THAT(completed, IsOk());
  EXPECT_THAT(ConnectTo(*server).Echo("the new one"), IsOk());
  server->AwaitExit();
  StopAndReap(static_cast<pid_t>(completed->Number("brood.child.pid")));
}

}  // namespace
}  // namespace brood::testing
