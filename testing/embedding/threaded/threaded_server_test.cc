// SPDX-License-Identifier: Apache-2.0

// A server whose process has busy threads and a large heap: processes without
// these serve its clients.

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "brood/testing/test_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/for_brood.h"
#include "server/options.h"
#include "threaded/desk_handler.h"
#include "threaded/log.h"
#include "threaded/workshop.h"

namespace embedder {
namespace {

using brood::server::StrategyKind;
using brood::server::TcpServer;
using brood::testing::IsOkAndHolds;
using brood::testing::StatusIs;
using brood::testing::TestClient;
using brood::testing::TestServer;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class ThreadedServerTest : public brood::testing::ServerTest {
 protected:
  // The server is created first, while its process is small.
  TestServer::Setup ThreadedSetup(StrategyKind strategy) {
    TestServer::Setup setup;
    setup.options = ForBrood(Options());
    setup.options.strategy = strategy;
    setup.handler = DeskHandler(&log_);
    setup.run = [this](TcpServer& server) {
      const Workshop workshop(/*threads=*/8, /*heap_bytes=*/128 << 20, &log_);
      return server.Run();
    };
    return setup;
  }

 private:
  Log log_;  // each process has its own copy
};

TEST_F(ThreadedServerTest, ServesEveryClientFromASmallProcessOfItsOwn) {
  const auto server = StartServer(ThreadedSetup(StrategyKind::kZygote));
  for (int i = 0; i < 200; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(
        client.ReadUntilEof(),
        IsOkAndHolds(MatchesRegex("said 1, resident [0-9][0-9]? MiB\n")))
        << "client " << i;
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 200u);
}

// Shows that the zygote is necessary.
TEST_F(ThreadedServerTest, IsRefusedByAStrategyThatWouldForkThreads) {
  TestServer::Setup setup = ThreadedSetup(StrategyKind::kFork);
  setup.run = [run = std::move(setup.run)](TcpServer& server) {
    EXPECT_THAT(run(server), StatusIs(absl::StatusCode::kFailedPrecondition,
                                      HasSubstr("thread")));
    return absl::OkStatus();
  };
  const auto server = StartServer(std::move(setup));
  ExpectClean(server->AwaitExit());
}

}  // namespace
}  // namespace embedder
