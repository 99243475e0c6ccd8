// SPDX-License-Identifier: Apache-2.0

// Listeners during an upgrade of the whole program: their settings (O7), which
// addresses and paths they match (O8, O9), and a file that was removed (O10).
// For the variants see server/listening/*_test.cc.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/net/socket.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class ListenerUpgradeTest : public ServerTest {
 protected:
  // Starts the program with the flags that WriteFlags() has written.
  std::unique_ptr<ServerProgram> Start() {
    auto server = ServerProgram::Start(
        {ServerProgram::Path(), "--flagfile=" + dir_.File("flags")});
    if (!server.ok()) throw std::runtime_error(server.status().ToString());
    return *std::move(server);
  }
  // Starts the program as a service manager does, with `listener`.
  std::unique_ptr<ServerProgram> StartActivated(const net::Listener& listener) {
    const net::Socket inheritable = net::Socket::Adopt(dup(listener.fd()));
    const std::string path = dir_.File("manager");
    std::ofstream(path) << "#!/bin/bash\nexec 3<&" << inheritable.fd()
                        << "\nLISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"\n";
    chmod(path.c_str(), 0700);
    setenv("SERVER_UNDER", path.c_str(), 1);
    const absl::Cleanup reset = [] { unsetenv("SERVER_UNDER"); };
    return Start();
  }
  // Sets the flags of the next program.
  void WriteFlags(const std::vector<std::string>& flags) const {
    std::ofstream(dir_.File("flags")) << absl::StrJoin(flags, "\n") << "\n";
  }
  static void Upgrade(ServerProgram& server) {
    server.Signal(SIGHUP);
    ASSERT_THAT(server.AwaitSuccessor(), IsOk());
  }
  static absl::Status EchoWith(const net::Endpoint& endpoint) {
    absl::StatusOr<TestClient> client = TestClient::Connect(endpoint);
    return client.ok() ? client->Echo("hello") : client.status();
  }
  mode_t Mode() const {
    struct stat file = {};
    EXPECT_EQ(stat(path_.c_str(), &file), 0);
    return file.st_mode & 07777;
  }
  static std::vector<LoggedEvent> EventsOfLast(ServerProgram& server,
                                               const char* name) {
    return EventsOf(server.log().All(), name, {{"process.pid", server.pid()}});
  }

  const ShortDir dir_;
  const std::string path_ = dir_.File("s");
  const net::Endpoint unix_ = dir_.Socket("s");
};

// O7, in both directions.
TEST_F(ListenerUpgradeTest, AppliesTheSettingsOfTheNewProgram) {
  const std::string listen = "--listen=" + unix_.ToString();
  WriteFlags({listen, "--unix_mode=0660", "--backlog=5"});
  const auto server = Start();
  EXPECT_EQ(Mode(), 0660u);
  for (const mode_t mode : {0600, 0666, 0600}) {
    WriteFlags(
        {listen, mode == 0600 ? "--unix_mode=0600" : "--unix_mode=0666"});
    Upgrade(*server);
    EXPECT_EQ(Mode(), mode);
    EXPECT_THAT(EchoWith(unix_), IsOk());
  }
  EXPECT_THAT(EventsOf(server->log().All(), "option-not-applied"), IsEmpty());
  EXPECT_THAT(server->Stop(), IsOk());
}

// A new program has changed settings before it failed; they are restored.
TEST_F(ListenerUpgradeTest, RestoresTheSettingsWhenTheNewProgramFails) {
  TestServer::Setup setup;
  setup.options.listen = {unix_.ToString()};
  setup.options.unix_mode = 0660;
  setup.options.upgrade.command = {"/bin/sh", "-c",
                                   absl::StrCat("chmod 0666 ", path_)};
  const auto server = StartServer(std::move(setup));
  server->Signal(SIGHUP);
  EXPECT_THAT(server->AwaitEvent("upgrade-failed"), IsOk());
  EXPECT_THAT(ConnectTo(*server).Echo("the old one"), IsOk());
  EXPECT_EQ(Mode(), 0660u);
  StopAndExpectClean(*server);
}

// O8: the wildcard listener of the service manager serves both entries, in each
// program.
TEST_F(ListenerUpgradeTest, ServesTheEntriesThatAWildcardCovers) {
  const net::Listener manager =
      *net::Listener::Listen(*net::Endpoint::Parse(":0"), 64);
  if (!manager.endpoint().is_ipv6()) GTEST_SKIP() << "no IPv6";
  const int port = manager.endpoint().port();
  WriteFlags({absl::StrCat("--listen=0.0.0.0:", port, ",[::]:", port)});
  const auto server = StartActivated(manager);
  const net::Endpoint ipv4 =
      *net::Endpoint::Parse(absl::StrCat("127.0.0.1:", port));
  const net::Endpoint ipv6 =
      *net::Endpoint::Parse(absl::StrCat("[::1]:", port));
  for (int upgrade = 0; upgrade < 2; ++upgrade) {
    EXPECT_THAT(EventsOfLast(*server, "inherited-listener-wider"), SizeIs(2));
    EXPECT_THAT(EventsOfLast(*server, "inherited-listener-unused"), IsEmpty());
    EXPECT_THAT(EchoWith(ipv4), IsOk());
    EXPECT_THAT(EchoWith(ipv6), IsOk());
    Upgrade(*server);
  }
  EXPECT_THAT(server->Stop(), IsOk());
}

// O9: the path of the flag goes through a link.
TEST_F(ListenerUpgradeTest, ServesAPathThroughALink) {
  const net::Listener manager = *net::Listener::Listen(unix_, 64);
  ASSERT_EQ(symlink(dir_.path().c_str(), dir_.File("var").c_str()), 0);
  WriteFlags({"--listen=unix:" + dir_.File("var/s")});
  const auto server = StartActivated(manager);
  EXPECT_THAT(EchoWith(unix_), IsOk());
  Upgrade(*server);
  EXPECT_THAT(EchoWith(unix_), IsOk());
  EXPECT_THAT(EventsOf(server->log().All(), "inherited-listener-unused"),
              IsEmpty());
  EXPECT_THAT(server->Stop(), IsOk());
}

// O10: the file was removed, or belongs to a server that was killed. Clients
// that are connected, or wait in the queue, stay with the old program.
TEST_F(ListenerUpgradeTest, BindsASocketAgainIfItsFileWasRemoved) {
  WriteFlags({"--listen=" + unix_.ToString()});
  const auto server = Start();
  for (const bool is_replaced : {false, true}) {
    TestClient held = *TestClient::Connect(unix_);
    EXPECT_THAT(held.Echo("before"), IsOk());
    ASSERT_EQ(unlink(path_.c_str()), 0);
    if (is_replaced) {
      const net::Listener left_behind = *net::Listener::Listen(unix_, 1);
    }
    EXPECT_FALSE(EchoWith(unix_).ok());
    Upgrade(*server);
    EXPECT_THAT(EventsOfLast(*server, "listener-rebound"), SizeIs(1));
    EXPECT_THAT(EchoWith(unix_), IsOk());
    EXPECT_THAT(held.Echo("after"), IsOk());
  }
  Upgrade(*server);
  EXPECT_THAT(EventsOfLast(*server, "listener-rebound"), IsEmpty());
  EXPECT_THAT(server->Stop(), IsOk());
}

// O10: another server has taken the path. The upgrade fails, and names the
// path.
TEST_F(ListenerUpgradeTest, RefusesAPathThatAnotherServerHasTaken) {
  WriteFlags({"--listen=" + unix_.ToString()});
  const auto server = Start();
  ASSERT_EQ(unlink(path_.c_str()), 0);
  const net::Listener other = *net::Listener::Listen(unix_, 8);
  server->Signal(SIGHUP);
  EXPECT_THAT(server->log().AwaitEvent("upgrade-failed", absl::Seconds(20)),
              IsOk());
  EXPECT_THAT(TestClient::Connect(unix_), IsOk()) << "the other server's file";
  EXPECT_THAT(server->Stop(), IsOk());
}

}  // namespace
}  // namespace brood::testing
