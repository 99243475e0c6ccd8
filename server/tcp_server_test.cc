// SPDX-License-Identifier: Apache-2.0

#include "brood/server/tcp_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/unique_fd.h"
#include "brood/server/handler.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/options.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::SizeIs;

ExitCode Serve(net::Connection& /*connection*/) { return ExitCode::kServed; }

// A server that is created and turned in this process, and gets no connection.
class TcpServerTest : public ::brood::testing::LeakCheck {
 protected:
  TcpServerTest() {
    options_.listen = {"127.0.0.1:0"};
    options_.log.level = LogLevel::kOff;
  }

  absl::StatusOr<std::unique_ptr<TcpServer>> Create(
      std::vector<InheritedListener> inherited = {}) const {
    return TcpServer::Create(options_, Serve, std::move(inherited));
  }

  static net::UniqueFd ListeningSocket() {
    net::UniqueFd fd =
        net::UniqueFd::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(listen(fd.fd(), 1), 0);
    return fd;
  }
  static bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

  Options options_;
};

TEST_F(TcpServerTest, ReportsTheEndpointsThatTheKernelChose) {
  options_.listen = {"127.0.0.1:0", "[::1]:0"};
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  ASSERT_THAT((*server)->endpoints(), SizeIs(2));
  EXPECT_NE((*server)->endpoints()[0].port(), 0);
  EXPECT_THAT((*server)->endpoints()[1].ToString(), HasSubstr("[::1]:"));
}

TEST_F(TcpServerTest, NamesTheFieldThatIsWrong) {
  options_.max_connections = 0;
  EXPECT_THAT(Create(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("max_connections=0")));
}

TEST_F(TcpServerTest, NamesTheEndpointThatIsInUse) {
  const auto first = Create();
  ASSERT_THAT(first, IsOk());
  options_.listen = {(*first)->endpoints()[0].ToString()};
  EXPECT_THAT(Create().status().message(), HasSubstr(options_.listen[0]));
}

TEST_F(TcpServerTest, OwnsWhatItInheritsWhetherItSucceedsOrNot) {
  options_.listen = {"inherited"};
  for (const bool valid : {true, false}) {
    options_.max_size = valid ? 1024 : 0;
    net::UniqueFd listener = ListeningSocket();
    const int fd = listener.fd();
    std::vector<InheritedListener> inherited;
    inherited.push_back({std::move(listener), ""});
    {
      const auto server = Create(std::move(inherited));
      EXPECT_EQ(server.ok(), valid);
      EXPECT_EQ(IsOpen(fd), valid);
    }
    EXPECT_FALSE(IsOpen(fd));
  }
}

TEST_F(TcpServerTest, StopsAtOnceWhenItIsIdle) {
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  EXPECT_THAT((*server)->Step(), IsOkAndHolds(true));
  (*server)->RequestDrain();
  EXPECT_THAT((*server)->Run(), IsOk());
  EXPECT_THAT((*server)->Step(), IsOkAndHolds(false)) << "it stays stopped";
  EXPECT_TRUE((*server)->totals().Balanced());
}

TEST_F(TcpServerTest, HasADescriptorThatIsReadableAfterARequest) {
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  ASSERT_THAT((*server)->Step(), IsOkAndHolds(true));
  const absl::StatusOr<int> fd = (*server)->PollableFd();
  ASSERT_THAT(fd, IsOk());
  pollfd ready = {*fd, POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  (*server)->RequestDrain();
  EXPECT_EQ(poll(&ready, 1, 10000), 1);
}

TEST_F(TcpServerTest, RefusesAnUpgradeWithoutACommand) {
  const auto server = Create();
  ASSERT_THAT(server, IsOk());
  (*server)->RequestUpgrade();
  EXPECT_THAT((*server)->Step(), IsOkAndHolds(true));
  EXPECT_EQ((*server)->upgrades_failed(), 0u);
}

// Whatever the strategy created ahead ends with the server.
TEST_F(TcpServerTest, CreatesAndDestroysEveryStrategy) {
  for (const StrategyKind kind : AllStrategyKinds()) {
    options_.strategy = kind;
    const auto server = Create();
    ASSERT_THAT(server, IsOk()) << NameOf(kind);
    EXPECT_THAT((*server)->Step(), IsOkAndHolds(true)) << NameOf(kind);
  }
}

}  // namespace
}  // namespace brood::server
