// SPDX-License-Identifier: Apache-2.0
//
// A child waits until its reply has arrived, whatever its handler returned: it
// does not reset a client that still sends and has not ended its side.

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/quiet_setup.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

constexpr char kTooLarge[] = "413\n";

// Reads one byte of the request and refuses the rest.
ExitCode Refuse(net::Connection& connection) {
  char first;
  EXPECT_THAT(net::ReadFull(connection.socket(), absl::MakeSpan(&first, 1)),
              IsOk());
  EXPECT_EQ(Reply(connection, kTooLarge), ExitCode::kServed);
  return ExitCode::kProtocolError;
}

ExitCode RefuseAndThrow(net::Connection& connection) {
  Refuse(connection);
  throw std::runtime_error("too large");
}

class LingerTest : public StrategyTest {
 protected:
  // Expects that a client that sends more than the kernel keeps receives the
  // reply of `handler` and no reset, and that its child ends by an error.
  void ExpectWholeReply(server::Handler handler) {
    TestServer::Setup setup = QuietSetup();
    setup.handler = std::move(handler);
    const auto server = StartServer(std::move(setup));
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Send(std::string(16 << 20, 'x')), IsOk());
    EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds(kTooLarge));
    client.Close();
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_error, 1u);
  }
};

INSTANTIATE_TEST_SUITE_P(With, LingerTest, EachStrategy(), StrategyName());

TEST_P(LingerTest, DeliversTheReplyOfAHandlerThatRefused) {
  ExpectWholeReply(Refuse);
}

TEST_P(LingerTest, DeliversTheReplyOfAHandlerThatThrew) {
  ExpectWholeReply(RefuseAndThrow);
}

TEST_P(LingerTest, LastsNoLongerThanTheOption) {
  TestServer::Setup setup;
  setup.options.linger = absl::Milliseconds(50);
  setup.handler = Refuse;
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Send("x"), IsOk());
  // The client never closes its side.
  const auto ended = server->AwaitEvent("ended", {{"brood.exit.code", 4}});
  ASSERT_THAT(ended, IsOk());
  const absl::Duration duration =
      absl::Nanoseconds(ended->Number("event.duration"));
  EXPECT_GE(duration, absl::Milliseconds(50));
  EXPECT_LT(duration, absl::Milliseconds(1500));
  EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds(kTooLarge));
  StopAndExpectClean(*server);
}

}  // namespace
}  // namespace brood::testing
