// SPDX-License-Identifier: Apache-2.0

// The handler in a whole server: a process for each client.

#include <csignal>
#include <memory>
#include <utility>
#include <vector>

#include "brood/server/handler.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "brood/testing/test_server.h"
#include "dictionary/dictionary_handler.h"
#include "dictionary/table.h"
#include "gtest/gtest.h"
#include "server/for_brood.h"
#include "server/options.h"

namespace embedder {
namespace {

using brood::testing::IsOk;
using brood::testing::IsOkAndHolds;
using brood::testing::TestClient;
using brood::testing::TestServer;

class DictionaryServerTest : public brood::testing::ServerTest {
 protected:
  std::unique_ptr<TestServer> StartDictionary() {
    TestServer::Setup setup;
    setup.options = ForBrood(Options());
    setup.handler = DictionaryHandler(std::make_shared<const Table>(
        Table::Parse("fork\ta process\nreap\tto wait\n").value()));
    return StartServer(std::move(setup));
  }
};

TEST_F(DictionaryServerTest, EachClientHasTheTableAndItsOwnCount) {
  const auto server = StartDictionary();
  std::vector<TestClient> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(ConnectTo(*server));
    ASSERT_THAT(clients.back().Send("DEFINE fork\n"), IsOk());
    ASSERT_THAT(clients.back().ExpectReply("= a process\n"), IsOk());
  }
  for (TestClient& client : clients) {
    ASSERT_THAT(client.Send("QUIT\n"), IsOk());
    EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds("bye 1\n"));
    client.Close();
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 10u);
}

TEST_F(DictionaryServerTest, KilledProcessEndsOnlyItsOwnConnection) {
  const auto server = StartDictionary();
  TestClient unlucky = ConnectTo(*server);
  ASSERT_THAT(unlucky.Send("DEFINE reap\n"), IsOk());
  ASSERT_THAT(unlucky.ExpectReply("= to wait\n"), IsOk());
  ASSERT_EQ(server->children().size(), 1u);
  const pid_t its_process = server->children()[0];

  TestClient other = ConnectTo(*server);
  ASSERT_THAT(other.Send("DEFINE fork\n"), IsOk());
  ASSERT_THAT(other.ExpectReply("= a process\n"), IsOk());
  ASSERT_EQ(kill(its_process, SIGKILL), 0);
  EXPECT_THAT(unlucky.ExpectEof(), IsOk());
  ASSERT_THAT(other.Send("QUIT\n"), IsOk());
  EXPECT_THAT(other.ReadUntilEof(), IsOkAndHolds("bye 1\n"));
  other.Close();

  const auto totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.ended_ok, 1u);
  EXPECT_EQ(totals.crashed_by[SIGKILL], 1u);
}

}  // namespace
}  // namespace embedder
