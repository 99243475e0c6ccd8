// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/handle_connection.h"

#include <future>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/testing/handler_run.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::HandlerRun;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::testing::AnyOf;

constexpr absl::Duration kLinger = absl::Seconds(1);

// Returns a handler that does what a child does with its connection.
Handler AsInChild(const Handler& handler, absl::Duration linger = kLinger) {
  return [handler, linger](net::Connection& connection) {
    return HandleConnection(connection, handler, {1024, linger},
                            [](absl::string_view /*what*/) {});
  };
}

// Returns every code with which a handler can end. A handler may reply before
// each of them.
const std::vector<ExitCode>& EveryCode() {
  static const auto* const codes = new std::vector<ExitCode>{
      ExitCode::kServed,         ExitCode::kHandlerFailed,
      ExitCode::kPeerLost,       ExitCode::kDeadlineExceeded,
      ExitCode::kProtocolError,  ExitCode::kBug,
      static_cast<ExitCode>(42), static_cast<ExitCode>(256)};
  return *codes;
}

// Returns a handler that reads one byte of a longer request, replies, and
// returns `code`.
Handler RefuseEarly(ExitCode code) {
  return [code](net::Connection& connection) {
    char first;
    EXPECT_THAT(net::ReadFull(connection.socket(), absl::MakeSpan(&first, 1)),
                IsOk());
    EXPECT_THAT(net::WriteFull(connection.socket(), "no\n"), IsOk());
    return code;
  };
}

using HandleConnectionTest = ::brood::testing::LeakCheck;

TEST_F(HandleConnectionTest, PassesTheConnectionToTheHandlerAndReturnsItsCode) {
  for (int code : {1, 2, 42, 99}) {
    HandlerRun child(AsInChild([code](net::Connection& connection) {
      EXPECT_THAT(net::WriteFull(connection.socket(), "hello"), IsOk());
      return static_cast<ExitCode>(code);
    }));
    EXPECT_THAT(child.client().ExpectReply("hello"), IsOk());
    EXPECT_THAT(child.client().ShutdownWrite(), IsOk());
    EXPECT_EQ(static_cast<int>(child.code()), code);
  }
}

// A plain close would reset the connection, because bytes of the client are
// unread. The client sends more than the kernel keeps, so the child must
// receive it.
TEST_F(HandleConnectionTest, DeliversAReplyWhileTheClientStillSends) {
  for (const ExitCode code : EveryCode()) {
    SCOPED_TRACE(static_cast<int>(code));
    HandlerRun child(AsInChild(RefuseEarly(code)));
    ASSERT_THAT(child.client().Send(std::string(16 << 20, 'x')), IsOk());
    EXPECT_THAT(child.client().ExpectReply("no\n"), IsOk());
    EXPECT_THAT(child.client().ExpectEof(), IsOk());
    EXPECT_THAT(child.client().ShutdownWrite(), IsOk());
    EXPECT_EQ(child.code(), code);
  }
}

TEST_F(HandleConnectionTest, DeliversAReplyOfAHandlerThatThrowsAfterIt) {
  HandlerRun child(AsInChild([](net::Connection& connection) -> ExitCode {
    RefuseEarly(ExitCode::kServed)(connection);
    throw std::runtime_error("oh");
  }));
  ASSERT_THAT(child.client().Send(std::string(16 << 20, 'x')), IsOk());
  EXPECT_THAT(child.client().ExpectReply("no\n"), IsOk());
  EXPECT_THAT(child.client().ExpectEof(), IsOk());
  EXPECT_THAT(child.client().ShutdownWrite(), IsOk());
  EXPECT_EQ(child.code(), ExitCode::kHandlerFailed);
}

TEST_F(HandleConnectionTest, EndsAsSoonAsTheClientEndsItsSide) {
  const net::Instant start = net::Now();
  HandlerRun child(
      AsInChild([](net::Connection&) { return ExitCode::kServed; }));
  EXPECT_THAT(child.client().ExpectEof(), IsOk());
  EXPECT_THAT(child.client().ShutdownWrite(), IsOk());
  EXPECT_EQ(child.code(), ExitCode::kServed);
  EXPECT_LT(net::TimeUntil(net::Now(), start), kLinger);
}

// The only slow test here: the linger is in real time.
TEST_F(HandleConnectionTest, LingersNoLongerForAnIdleClientNorForAFlood) {
  const net::Instant start = net::Now();
  HandlerRun idle(
      AsInChild([](net::Connection&) { return ExitCode::kServed; }));
  HandlerRun flood(
      AsInChild([](net::Connection&) { return ExitCode::kServed; }));
  EXPECT_THAT(idle.client().ExpectEof(), IsOk());

  // Sends until the child has closed its end.
  const net::Instant deadline = net::After(net::Now(), absl::Seconds(10));
  const std::string bytes(64 << 10, 'x');
  absl::Status sent;
  while (sent.ok() && net::Now() < deadline) sent = flood.client().Send(bytes);
  // ECONNRESET or EPIPE, depending on what the client was sending.
  EXPECT_THAT(sent, AnyOf(StatusIs(absl::StatusCode::kUnavailable),
                          StatusIs(absl::StatusCode::kFailedPrecondition)));
  EXPECT_EQ(flood.code(), ExitCode::kServed);
  EXPECT_EQ(idle.code(), ExitCode::kServed);
  EXPECT_GE(net::TimeUntil(net::Now(), start), kLinger);
}

TEST_F(HandleConnectionTest, ClosesAtOnceIfThereIsNoLinger) {
  for (const ExitCode code : EveryCode()) {
    HandlerRun child(AsInChild(RefuseEarly(code), absl::ZeroDuration()));
    ASSERT_THAT(child.client().Send("a request of more than one byte"), IsOk());
    EXPECT_THAT(child.client().ExpectReply("no\n"), IsOk());
    // Closed at once, with bytes unread.
    EXPECT_THAT(child.client().ReadExactly(1),
                StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_EQ(child.code(), code);
  }
}

TEST_F(HandleConnectionTest, ReportsAnExceptionAsAFailureOfTheHandler) {
  const Handler kThrowing[] = {
      [](net::Connection&) -> ExitCode { throw std::runtime_error("oh"); },
      [](net::Connection&) -> ExitCode { throw 42; },
      Handler(),  // an empty one throws std::bad_function_call
  };
  for (const Handler& handler : kThrowing) {
    HandlerRun child(AsInChild(handler));
    EXPECT_THAT(child.client().ShutdownWrite(), IsOk());
    EXPECT_EQ(child.code(), ExitCode::kHandlerFailed);
  }
}

TEST_F(HandleConnectionTest, PassesOnTheMessageOfAnException) {
  const std::pair<Handler, std::string> kThrowing[] = {
      {[](net::Connection&) -> ExitCode { throw std::runtime_error("oh"); },
       "oh"},
      {[](net::Connection&) -> ExitCode { throw 42; },
       "an object that is no std::exception"},
      {[](net::Connection&) { return ExitCode::kHandlerFailed; }, "nothing"},
  };
  for (const auto& [handler, expected] : kThrowing) {
    std::string said = "nothing";
    HandlerRun child([&, handler = handler](net::Connection& connection) {
      return HandleConnection(
          connection, handler, {1024, absl::ZeroDuration()},
          [&](absl::string_view what) { said = std::string(what); });
    });
    EXPECT_EQ(child.code(), ExitCode::kHandlerFailed);
    EXPECT_EQ(said, expected);
  }
}

TEST_F(HandleConnectionTest, ReturnsServedForAClientThatVanishedAfterwards) {
  std::promise<void> gone;
  HandlerRun child(AsInChild([&gone](net::Connection& connection) {
    EXPECT_THAT(net::WriteFull(connection.socket(), "hello"), IsOk());
    gone.get_future().wait();
    return ExitCode::kServed;
  }));
  EXPECT_THAT(child.client().ExpectReply("hello"), IsOk());
  child.client().Reset();
  gone.set_value();
  EXPECT_EQ(child.code(), ExitCode::kServed);
}

}  // namespace
}  // namespace brood::server
