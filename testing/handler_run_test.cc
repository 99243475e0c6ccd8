// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/handler_run.h"

#include <stdexcept>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/net/peer_address.h"
#include "brood/server/handler.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

// Waits for one byte. Returns kServed at the end of the stream too, and
// kPeerLost after a reset.
ExitCode TakeOne(net::Connection& connection) {
  char byte;
  return net::ReadSome(connection.socket(), absl::MakeSpan(&byte, 1)).ok()
             ? ExitCode::kServed
             : ExitCode::kPeerLost;
}

using HandlerRunTest = LeakCheck;

TEST_F(HandlerRunTest, ServesItsClientAndThenCloses) {
  absl::optional<net::PeerAddress> peer;
  HandlerRun run([&peer](net::Connection& connection) {
    peer = connection.peer();
    return net::WriteFull(connection.socket(), "hello\n").ok()
               ? ExitCode::kServed
               : ExitCode::kPeerLost;
  });
  EXPECT_THAT(run.client().ExpectReply("hello\n"), IsOk());
  // The connection is closed although the test has not called code() yet.
  EXPECT_THAT(run.client().ExpectEof(), IsOk());
  EXPECT_EQ(run.code(), ExitCode::kServed);
  EXPECT_EQ(*peer, run.client().endpoint());
}

TEST_F(HandlerRunTest, ReturnsTheCodeForEachCall) {
  HandlerRun run([](net::Connection&) { return static_cast<ExitCode>(42); });
  EXPECT_EQ(run.code(), static_cast<ExitCode>(42));
  EXPECT_EQ(run.code(), static_cast<ExitCode>(42));
}

TEST_F(HandlerRunTest, PassesAnExceptionOnToTheTest) {
  HandlerRun run(
      [](net::Connection&) -> ExitCode { throw std::runtime_error("oh"); });
  EXPECT_THROW(run.code(), std::runtime_error);
}

TEST_F(HandlerRunTest, EndsAHandlerThatWaitsForItsClient) {
  ExitCode code = ExitCode::kBug;
  {
    HandlerRun run([&code](net::Connection& connection) {
      return code = TakeOne(connection);
    });
  }
  EXPECT_EQ(code, ExitCode::kServed);
}

TEST_F(HandlerRunTest, FailsIfAHandlerDoesNotEndAndResetsItsConnection) {
  HandlerRun run(TakeOne, absl::Milliseconds(20));
  EXPECT_NONFATAL_FAILURE(run.code(), "did not end within 20ms");
  EXPECT_EQ(run.code(), ExitCode::kPeerLost);
}

}  // namespace
}  // namespace brood::testing
