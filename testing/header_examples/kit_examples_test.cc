// SPDX-License-Identifier: Apache-2.0

// The examples in the headers of the kit, word for word.

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/io.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/testing/chaos_proxy.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/fault_injector.h"
#include "brood/testing/handler_conformance.h"
#include "brood/testing/handler_run.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/test_client.h"
#include "brood/testing/test_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using net::Endpoint;
using server::EchoHandler;
using server::ExitCode;
using ::testing::HasSubstr;
using ::testing::Property;

class KitExamplesTest : public LeakCheck {};

TEST_F(KitExamplesTest, StatusMatchersMatch) {
  // Example of testing/status_matchers.h.
  EXPECT_THAT(Endpoint::Parse(":80"),
              IsOkAndHolds(Property(&Endpoint::port, 80)));
  EXPECT_THAT(
      Endpoint::Parse("80"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("needs a port")));
  // End of the example.
}

// Example of testing/leak_check.h.
class PipeTest : public brood::testing::LeakCheck {};
TEST_F(PipeTest, HasTwoEnds) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_NE(ends[0], ends[1]);
  for (int end : ends) close(end);  // or "descriptor 3 was left open"
}
// End of the example.

ExitCode TakeFourBytes(net::Connection& connection) {
  char bytes[4];
  return net::ReadFull(connection.socket(), absl::MakeSpan(bytes)).ok()
             ? ExitCode::kServed
             : ExitCode::kPeerLost;
}

TEST_F(KitExamplesTest, ConnectionPairNeedsNoServer) {
  const server::Handler handler = TakeFourBytes;
  // Example of testing/connection_pair.h.
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  ASSERT_THAT(net::WriteFull(pair->client, "ping"), IsOk());
  EXPECT_EQ(handler(pair->connection), ExitCode::kServed);
  // End of the example.
}

ExitCode Greet(net::Connection& connection) {
  return net::WriteFull(connection.socket(), "hello\n").ok()
             ? ExitCode::kServed
             : ExitCode::kPeerLost;
}

TEST_F(KitExamplesTest, HandlerRunProvidesAClient) {
  // Example of testing/handler_run.h.
  HandlerRun run(Greet);
  EXPECT_THAT(run.client().ReadUntilEof(), IsOkAndHolds("hello\n"));
  EXPECT_EQ(run.code(), ExitCode::kServed);
  // End of the example.
}

TEST_F(KitExamplesTest, LoggedEventIsRead) {
  const std::string line =
      R"({"event.action":"ended","brood.child.pid":4711,"brood.outcome":"ok"})";
  // Example of testing/logged_event.h.
  const absl::StatusOr<LoggedEvent> event = LoggedEvent::Parse(line);
  ASSERT_THAT(event, IsOk());
  EXPECT_EQ(event->name(), "ended");
  EXPECT_EQ(event->Number("brood.child.pid"), 4711);
  EXPECT_TRUE(event->HasAll({{"brood.outcome", "ok"}}));
  // End of the example.
}

TEST_F(KitExamplesTest, TestServerServes) {
  // Example of testing/test_server.h.
  TestServer::Setup setup;
  setup.options.max_connections = 4;
  absl::StatusOr<std::unique_ptr<TestServer>> server =
      TestServer::Start(std::move(setup));
  ASSERT_THAT(server, IsOk());
  auto client = TestClient::Connect((*server)->endpoint());
  ASSERT_THAT(client, IsOk());
  client->Close();
  EXPECT_THAT((*server)->AwaitEvent("ended", {{"brood.exit.code", 0}}), IsOk());
  EXPECT_EQ((*server)->Stop().totals.ended_ok, 1u);
  // End of the example.
}

TEST_F(KitExamplesTest, TestClientTalks) {
  const auto started = TestServer::Start();
  ASSERT_THAT(started, IsOk());
  const TestServer& server = **started;
  // Example of testing/test_client.h.
  absl::StatusOr<TestClient> client = TestClient::Connect(server.endpoint());
  ASSERT_THAT(client, IsOk());
  EXPECT_THAT(client->Send("hello"), IsOk());
  EXPECT_THAT(client->ExpectReply("hello"), IsOk());
  EXPECT_THAT(client->ShutdownWrite(), IsOk());
  EXPECT_THAT(client->ExpectEof(), IsOk());
  // End of the example.
}

TEST_F(KitExamplesTest, ChaosProxySplitsTheStream) {
  if (!ChaosProxy::Supported().ok()) GTEST_SKIP();
  const auto started = TestServer::Start();
  ASSERT_THAT(started, IsOk());
  const TestServer& server = **started;
  // Example of testing/chaos_proxy.h.
  ChaosPlan plan;
  plan.to_server.splits = {3};  // "hel", then "lo"
  plan.to_client.max_piece = 1;
  plan.to_client.delay = absl::Milliseconds(1);
  absl::StatusOr<std::unique_ptr<ChaosProxy>> proxy =
      ChaosProxy::Start(server.endpoint(), plan);
  ASSERT_THAT(proxy, IsOk());
  auto client = TestClient::Connect((*proxy)->endpoint());
  ASSERT_THAT(client, IsOk());
  EXPECT_THAT(client->Echo("hello"), IsOk());
  // End of the example.
}

// Example of testing/server_fixture.h.
TEST_F(ServerTest, GivesBackWhatItIsSent) {
  auto server = StartServer();
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Echo("hello"), IsOk());
  client.Close();
  EXPECT_THAT(server->AwaitEvent("ended"), IsOk());
  StopAndExpectClean(*server);
}
// End of the example.

// Example of testing/handler_conformance.h.
HandlerUnderTest Echo() {
  HandlerUnderTest echo(
      "Echo", [] { return EchoHandler(1024); }, "hello");
  echo.reply = "hello";
  echo.setup.options.max_connections = 10;
  return echo;
}
INSTANTIATE_TEST_SUITE_P(Mine, HandlerConformance, ::testing::Values(Echo()),
                         HandlerConformance::NameOf);
// End of the example.

// Example of testing/fault_injector.h.
TEST_F(ServerTest, ServesOnWhenAcceptForkAndWaitFail) {
  if (!FaultInjector::Supported().ok()) GTEST_SKIP();
  FaultInjector faults(
      {FaultInjector::kAccept, FaultInjector::kFork, FaultInjector::kWait});
  faults.Fail(FaultInjector::kAccept, ENOMEM, /*first=*/2, /*count=*/3);
  faults.Fail(FaultInjector::kFork, EAGAIN, /*first=*/3);
  faults.Fail(FaultInjector::kWait, EINTR);
  TestServer::Setup setup;
  setup.before = [&] { faults.Install(); };
  auto server = StartServer(std::move(setup));
  for (int client = 1; client <= 10; ++client) {
    EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk()) << client;
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 10u);
  EXPECT_EQ(faults.failed(FaultInjector::kAccept), 3);
}
// End of the example.

// Example of testing/strategies.h.
class GreetingTest : public StrategyTest {};
TEST_P(GreetingTest, GreetsEachClient) {
  TestServer::Setup setup;
  setup.handler = Greet;
  auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds("hello\n"));
  StopAndExpectClean(*server);
}
INSTANTIATE_TEST_SUITE_P(With, GreetingTest, EachStrategy(), StrategyName());
// End of the example.

}  // namespace
}  // namespace brood::testing
