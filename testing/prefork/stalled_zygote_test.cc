// SPDX-License-Identifier: Apache-2.0
//
// A zygote that is stopped, or of whose queue another process has a copy:
// clients are served, and a stop ends.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/zygote_log.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class StalledZygoteTest : public ServerTest {
 protected:
  static TestServer::Setup ZygoteSetup() {
    TestServer::Setup setup;
    setup.options.strategy = server::StrategyKind::kZygote;
    return setup;
  }

  // Waits until the zygote and its standby exist, and stops them.
  static void FreezeBoth(const TestServer& server) {
    ASSERT_TRUE(Await([&] { return server.children().size() == 2; }));
    for (const pid_t child : server.children()) Freeze(child);
  }

  // Connects a client, and expects that it is served.
  void ExpectServed(const TestServer& server) {
    TestClient client = ConnectTo(server);
    EXPECT_THAT(client.Echo("hello"), IsOk());
  }
};

TEST_F(StalledZygoteTest, IsReplacedByItsStandbyAndLosesNoClient) {
  const auto server = StartServer(ZygoteSetup());
  const absl::StatusOr<pid_t> zygote = AwaitZygote(*server);
  ASSERT_THAT(zygote, IsOk());
  Freeze(*zygote);
  std::vector<TestClient> clients = ConnectMany(*server, 10);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.Echo("hello"), IsOk());
    client.Close();
  }
  EXPECT_THAT(server->AwaitEvent("zygote-stalled"), IsOk());
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, 10u);
}

TEST_F(StalledZygoteTest, IsReplacedThoughItsStandbyIsStoppedToo) {
  const auto server = StartServer(ZygoteSetup());
  FreezeBoth(*server);
  ExpectServed(*server);
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
}

TEST_F(StalledZygoteTest, DoesNotKeepAnIdleServerFromStopping) {
  const auto server = StartServer(ZygoteSetup());
  FreezeBoth(*server);
  const net::Instant start = net::Now();
  StopAndExpectClean(*server);
  EXPECT_LT(absl::FromChrono(net::Now() - start), absl::Seconds(3))
      << "and not only when the grace was over";
}

TEST_F(StalledZygoteTest, DoesNotKeepABusyServerFromStopping) {
  const auto server = StartServer(ZygoteSetup());
  FreezeBoth(*server);
  TestClient client = ConnectTo(*server);
  AwaitIdle(server->pid());
  const TestServer::Report report = server->Stop();
  EXPECT_TRUE(report.balanced);
  EXPECT_EQ(report.totals.accepted, 1u);
}

TEST_F(StalledZygoteTest, IsKilledAgainAndAgainAndLosesNoClient) {
  const auto server = StartServer(ZygoteSetup());
  for (int i = 0; i < 10; ++i) {
    const absl::StatusOr<pid_t> zygote = AwaitZygote(*server);
    ASSERT_THAT(zygote, IsOk());
    Freeze(*zygote);
    TestClient client = ConnectTo(*server);
    AwaitIdle(server->pid());
    kill(*zygote, SIGKILL);
    EXPECT_THAT(client.Echo("hello"), IsOk());
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 10u);
}

// Returns a copy of the end of the queue from which the zygote `pid` reads.
net::UniqueFd StealQueue(pid_t pid) {
  const net::UniqueFd process =
      net::UniqueFd::Adopt(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  for (const int fd : DescriptorsOf(absl::StrCat(pid))) {
    net::UniqueFd copy = net::UniqueFd::Adopt(
        static_cast<int>(syscall(SYS_pidfd_getfd, process.fd(), fd, 0)));
    int type = 0;
    socklen_t length = sizeof(type);
    char byte;
    if (copy.valid() &&
        getsockopt(copy.fd(), SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
        type == SOCK_SEQPACKET &&
        recv(copy.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
      return copy;
    }
  }
  return net::UniqueFd();
}

TEST_F(StalledZygoteTest, LosesOnlyTheMessageThatWasRemovedFromItsQueue) {
  const auto server = StartServer(ZygoteSetup());
  const absl::StatusOr<pid_t> zygote = AwaitZygote(*server);
  ASSERT_THAT(zygote, IsOk());
  Freeze(*zygote);
  std::vector<TestClient> clients = ConnectMany(*server, 3);
  AwaitIdle(server->pid());
  {
    const net::UniqueFd queue = StealQueue(*zygote);
    if (!queue.valid()) GTEST_SKIP() << "no descriptor may be copied here";
    char byte;
    EXPECT_GT(recv(queue.fd(), &byte, 1, MSG_DONTWAIT), 0);
  }
  kill(*zygote, SIGCONT);
  EXPECT_THAT(clients[0].ExpectEof(), IsOk());
  EXPECT_THAT(clients[1].Echo("hello"), IsOk());
  EXPECT_THAT(clients[2].Echo("hello"), IsOk());
  for (int i = 0; i < 100; ++i) ExpectServed(*server);
  clients.clear();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.fork_failed, 1u);
  EXPECT_EQ(report.totals.ended_ok, 102u);
}

// No later message shows that this one is missing.
TEST_F(StalledZygoteTest, IsReplacedWhenTheLastMessageWasRemoved) {
  const auto server = StartServer(ZygoteSetup());
  const absl::StatusOr<pid_t> zygote = AwaitZygote(*server);
  ASSERT_THAT(zygote, IsOk());
  Freeze(*zygote);
  TestClient client = ConnectTo(*server);
  AwaitIdle(server->pid());
  {
    const net::UniqueFd queue = StealQueue(*zygote);
    if (!queue.valid()) GTEST_SKIP() << "no descriptor may be copied here";
    char byte;
    EXPECT_GT(recv(queue.fd(), &byte, 1, MSG_DONTWAIT), 0);
  }
  kill(*zygote, SIGCONT);
  EXPECT_THAT(server->AwaitEvent("zygote-stalled"), IsOk());
  for (int i = 0; i < 10; ++i) ExpectServed(*server);
  EXPECT_EQ(StopAndExpectClean(*server).totals.fork_failed, 1u);
}

}  // namespace
}  // namespace brood::testing
