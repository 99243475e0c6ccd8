// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec/executed_program.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/peer_address.h"
#include "brood/net/unique_fd.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Not;
using ::testing::StartsWith;

class ExecutedProgramTest : public ::brood::testing::LeakCheck {
 protected:
  // Returns the environment of the program for `connection`.
  std::vector<std::string> Environment(const net::Connection& connection) {
    Variables variables(program_.variables);
    program_.AddVariables(connection, &variables);
    std::vector<std::string> environment;
    for (char* const* each = variables.Environment(); *each != nullptr;
         ++each) {
      environment.emplace_back(*each);
    }
    return environment;
  }
  // Returns the environment of the program for a connection by TCP.
  std::vector<std::string> Environment() {
    const absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
    EXPECT_THAT(pair, IsOk());
    return Environment(pair->connection);
  }

  ExecutedProgram program_;
};

TEST_F(ExecutedProgramTest, AddsTheConnectionToTheLastingVariables) {
  program_.variables = {"LASTING=1"};
  EXPECT_THAT(Environment(), AllOf(Contains("LASTING=1"), Contains("PROTO=TCP"),
                                   Contains("TCPREMOTEIP=127.0.0.1"),
                                   Each(Not(StartsWith("REMOTE_HOST"))),
                                   Each(Not(StartsWith("LISTEN_")))));
}

TEST_F(ExecutedProgramTest, AddsTheVariablesOfInetd) {
  program_.extra = ExecutedProgram::Extra::kRemoteHost;
  EXPECT_THAT(Environment(), AllOf(Contains("REMOTE_HOST=127.0.0.1"),
                                   Each(Not(StartsWith("LISTEN_")))));
}

TEST_F(ExecutedProgramTest, AddsTheVariablesOfSystemdWithThePid) {
  program_.extra = ExecutedProgram::Extra::kListenFds;
  EXPECT_THAT(Environment(),
              AllOf(Contains("LISTEN_FDS=1"),
                    Contains(absl::StrCat("LISTEN_PID=", getpid())),
                    Each(Not(StartsWith("REMOTE_HOST")))));
}

// The kernel knows the user of the other end.
TEST_F(ExecutedProgramTest, AddsTheUserOfAUnixSocket) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const net::UniqueFd client = net::UniqueFd::Adopt(pair[1]);
  sockaddr_storage unix = {};
  unix.ss_family = AF_UNIX;
  const net::PeerAddress peer = net::PeerAddress::FromSockaddr(unix);
  const net::Connection connection(net::UniqueFd::Adopt(pair[0]), peer, peer,
                                   net::Now());
  EXPECT_THAT(Environment(connection),
              AllOf(Contains("PROTO=IPC"),
                    Contains(absl::StrCat("IPCREMOTEEUID=", geteuid())),
                    Contains(absl::StrCat("IPCREMOTEEGID=", getegid()))));
}

}  // namespace
}  // namespace brood::server
