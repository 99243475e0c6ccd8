// SPDX-License-Identifier: Apache-2.0

// The flags of the program that takes over: it reads each flagfile again. If a
// file is wrong, the old program stays. Flags that cannot be read again are
// repeated. With the real program.

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::SizeIs;

constexpr absl::Duration kTimeout = absl::Seconds(20);

class FlagfileUpgradeTest : public LeakCheck {
 protected:
  FlagfileUpgradeTest() {
    directory_ = absl::StrCat(::testing::TempDir(), "/XXXXXX");
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
  }

  std::string Path(absl::string_view name) const {
    return absl::StrCat(directory_, "/", name);
  }

  void Write(absl::string_view name, absl::string_view contents) const {
    std::ofstream(Path(name)) << contents;
  }

  // Starts the server by a script of Bash, whose last line is `command`, with
  // "$SERVER" for the path of the program and its first flags.
  std::unique_ptr<ServerProgram> StartBy(absl::string_view command) const {
    Write("start", absl::StrCat("#!/bin/bash\nSERVER=(", ServerProgram::Path(),
                                " \"$@\")\n", command, "\n"));
    EXPECT_EQ(chmod(Path("start").c_str(), 0700), 0);
    return Start({Path("start")});
  }

  static std::unique_ptr<ServerProgram> Start(
      std::vector<std::string> command) {
    auto server = ServerProgram::Start(std::move(command));
    EXPECT_THAT(server, IsOk());
    return server.ok() ? *std::move(server) : nullptr;
  }

  // Expects that the newest program has the cap `cap`.
  static void ExpectCap(ServerProgram& server, int cap) {
    absl::StatusOr<TestClient> client = TestClient::Connect(server.endpoint());
    ASSERT_THAT(client, IsOk());
    EXPECT_THAT(client->Echo("hello"), IsOk());
    client->Close();
    EXPECT_THAT(
        server.log().AwaitEvent(
            "ended", {{"process.pid", server.pid()}, {"brood.cap", cap}},
            kTimeout),
        IsOk());
  }

  std::string directory_;
};

// In an earlier version the new program took each of these as an empty
// configuration: it listened at the default 127.0.0.1:7000, and the old port
// was closed.
TEST_F(FlagfileUpgradeTest, LeavesTheOldProgramIfAFileIsWrong) {
  const struct {
    absl::string_view contents;
    const char* error;
  } kBroken[] = {
      {"max_connections=5\n", ":1: \"max_connections=5\" is not a flag"},
      {"--max_connections=5\n[server]\n", ":2: \"[server]\" is not a flag"},
      {"\xEF\xBB\xBF--max_connections=5\n", ":1: the file begins with a byte"},
      {absl::string_view("\xFF\xFE-\0", 4), ":1: the file is UTF-16"},
      {absl::string_view("# a\n\0\n", 6), ":2: the line holds a NUL"},
      {"# a\r--max_connections=5\n", ":1: a carriage return"},
      {"--max_connections\n5\n", ":1: --max_connections: has no value"},
      {"--max_connections=5\n--max_spares=1\n", ":2: --max_spares=1: must be"},
      {"--flagfile=/no/such\n", ":1: --flagfile=/no/such: cannot be opened"},
      {"--check_config\n", ":1: --check_config: is allowed on the command"},
  };
  Write("flags", "--max_connections=7\n");
  const auto server =
      Start({ServerProgram::Path(), "--flagfile=" + Path("flags")});
  ASSERT_NE(server, nullptr);
  int failures = 0;
  for (const auto& broken : kBroken) {
    Write("flags", broken.contents);
    server->Signal(++failures % 2 == 0 ? SIGUSR2 : SIGHUP);
    EXPECT_THAT(
        server->log().Await(
            absl::StrCat("brood: ", Path("flags"), broken.error), kTimeout),
        IsOk());
    ASSERT_THAT(
        server->log().AwaitEvent(
            "upgrade-failed", {{"brood.upgrade.failures", failures}}, kTimeout),
        IsOk());
    ExpectCap(*server, 7);
  }
  Write("flags", "--max_connections=9\n");
  server->Signal(SIGHUP);
  ASSERT_THAT(server->AwaitSuccessor(), IsOk());
  ExpectCap(*server, 9);
  EXPECT_THAT(server->Stop(), IsOk());
  EXPECT_THAT(server->generations(), SizeIs(2));
}

// <(...) of a shell, a here-document, and /dev/fd/N: there a new program would
// find nothing, or another file.
TEST_F(FlagfileUpgradeTest, RepeatsFlagsThatCannotBeReadAgain) {
  Write("flags", "# a\n--max_connections=7\n");
  Write("more", "");
  for (const std::string command :
       {"exec \"${SERVER[@]}\" --flagfile=<(cat flags)",
        "exec \"${SERVER[@]}\" --flagfile=/dev/stdin <<< \"$(cat flags)\"",
        "exec \"${SERVER[@]}\" --flagfile=/dev/fd/9 9< flags"}) {
    SCOPED_TRACE(command);
    const auto server =
        StartBy(absl::StrCat("cd ", directory_, " || exit\n", command));
    ASSERT_NE(server, nullptr);
    ExpectCap(*server, 7);
    for (int upgrades = 0; upgrades < 2; ++upgrades) {
      server->Signal(SIGHUP);
      ASSERT_THAT(server->AwaitSuccessor(), IsOk());
      ExpectCap(*server, 7);
    }
    EXPECT_THAT(server->Stop(), IsOk());
  }
}

// A flagfile that a pipe names is read again, the pipe itself is not.
TEST_F(FlagfileUpgradeTest, ReadsAFileAgainThatAPipeNames) {
  Write("flags", "--max_connections=7\n");
  const auto server = StartBy(absl::StrCat(
      "exec \"${SERVER[@]}\" --flagfile=<(echo --flagfile=", Path("flags"),
      ")"));
  ASSERT_NE(server, nullptr);
  ExpectCap(*server, 7);
  Write("flags", "--max_connections=9\n");
  server->Signal(SIGUSR2);
  ASSERT_THAT(server->AwaitSuccessor(), IsOk());
  ExpectCap(*server, 9);
  EXPECT_THAT(server->Stop(), IsOk());
}

}  // namespace
}  // namespace brood::testing
