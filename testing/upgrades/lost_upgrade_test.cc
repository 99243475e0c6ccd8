// SPDX-License-Identifier: Apache-2.0
//
// The kernel keeps no status of a new program that ends while this program
// ignores SIGCHLD. The upgrade has failed then, and the next one may begin.

#include <csignal>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using LostUpgradeTest = ServerTest;

TEST_F(LostUpgradeTest, EndsThoughOthersLiveAndItsStatusIsLost) {
  for (const bool owns_all_children : {false, true}) {
    SCOPED_TRACE(owns_all_children);
    TestServer::Setup setup;
    setup.before = [] { std::signal(SIGCHLD, SIG_IGN); };
    setup.options.owns_all_children = owns_all_children;
    setup.options.upgrade.command = {"/bin/false"};
    setup.options.upgrade.timeout = absl::Minutes(10);
    const auto server = StartServer(std::move(setup));
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Echo("hello"), IsOk());
    for (int i = 0; i < 2; ++i) {
      server->Signal(SIGUSR2);
      EXPECT_THAT(server->AwaitEvent("upgrade-failed"), IsOk());
    }
    EXPECT_THAT(client.Echo("hello"), IsOk());
    client.Close();
    const TestServer::Report report = StopAndExpectClean(*server);
    EXPECT_EQ(report.totals.accepted, 1u);
  }
}

}  // namespace
}  // namespace brood::testing
