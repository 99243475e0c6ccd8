// SPDX-License-Identifier: Apache-2.0
//
// A child has the standard descriptors and its connection: none of the
// program's own descriptors, and none that an older generation has passed on.

#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class ChildDescriptorsTest : public LeakCheck,
                             public ::testing::WithParamInterface<StrategyRow> {
 protected:
  // Starts a server with every option that makes it open descriptors.
  std::unique_ptr<ServerProgram> Start() {
    std::vector<std::string> command = {
        ServerProgram::Path(),
        absl::StrCat("--strategy=", GetParam().name()),
        "--min_spares=2",
        "--workers=2",
        "--idle_timeout=60s",
        "--first_byte_timeout=60s",
        "--connection_timeout=60s",
        "--peer_timeout=60s",
        "--unix_deadlines=connection_only",
        "--on_parent_death=die"};
    auto server = ServerProgram::Start(std::move(command));
    if (!server.ok()) throw std::runtime_error(server.status().ToString());
    return *std::move(server);
  }

  // Connects a client, and returns what the descriptors above 2 of its process
  // refer to.
  static std::vector<std::string> DescriptorsOfAChild(ServerProgram& server) {
    absl::StatusOr<TestClient> client = TestClient::Connect(server.endpoint());
    EXPECT_THAT(client, IsOk());
    EXPECT_THAT(client->Echo("hello"), IsOk());
    std::vector<std::string> descriptors;
    server.log().Read();
    std::vector<LoggedEvent> served =
        EventsOf(server.log().All(), "handling", {});
    if (served.empty()) return descriptors;
    const auto pid = static_cast<pid_t>(served.back().Number("process.pid"));
    for (const int fd : DescriptorsOf(absl::StrCat(pid))) {
      if (fd <= STDERR_FILENO) continue;
      std::array<char, 256> target = {};
      const std::string path = absl::StrCat("/proc/", pid, "/fd/", fd);
      EXPECT_GT(readlink(path.c_str(), target.data(), target.size() - 1), 0);
      descriptors.push_back(absl::StrCat(fd, " ", target.data()));
    }
    return descriptors;
  }
};

INSTANTIATE_TEST_SUITE_P(With, ChildDescriptorsTest, EachStrategy(),
                         StrategyName());

TEST_P(ChildDescriptorsTest, AreItsConnectionBeforeAndAfterUpgrades) {
  const auto server = Start();
  for (int generation = 0; generation < 3; ++generation) {
    const std::vector<std::string> descriptors = DescriptorsOfAChild(*server);
    EXPECT_THAT(descriptors, SizeIs(1 + GetParam().own_descriptors))
        << ::testing::PrintToString(descriptors);
    EXPECT_THAT(descriptors, Each(Not(HasSubstr("event"))));
    server->Signal(SIGUSR2);
    ASSERT_THAT(server->AwaitSuccessor(), IsOk());
  }
  EXPECT_THAT(server->Stop(), IsOk());
}

}  // namespace
}  // namespace brood::testing
