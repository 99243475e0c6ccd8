#include "brood/server/child/handle_connection.h"

#include <future>
#include <stdexcept>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
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

constexpr size_t kMaxSize = 1024;
constexpr absl::Duration kLinger = absl::Seconds(kLingerSeconds);

// What a child does with its connection.
Handler AsInChild(const Handler& handler) {
  return [handler](net::Connection& connection) {
    return HandleConnection(connection, kMaxSize, handler);
  };
}

// Takes one byte of a longer request, and answers.
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

TEST_F(HandleConnectionTest, GivesTheHandlerItsConnectionAndItsCodeBack) {
  for (int code : {1, 2, 42, 99}) {
    HandlerRun child(AsInChild([code](net::Connection& connection) {
      EXPECT_THAT(net::WriteFull(connection.socket(), "hello"), IsOk());
      return static_cast<ExitCode>(code);
    }));
    EXPECT_THAT(child.client().ExpectReply("hello"), IsOk());
    EXPECT_EQ(static_cast<int>(child.code()), code);
  }
}

// A plain close would reset the connection, for bytes of the client are unread.
TEST_F(HandleConnectionTest, DeliversAReplyAlthoughItDidNotReadAll) {
  HandlerRun child(AsInChild(RefuseEarly(ExitCode::kServed)));
  ASSERT_THAT(child.client().Send("a request of more than one byte"), IsOk());
  EXPECT_THAT(child.client().ExpectReply("no\n"), IsOk());
  EXPECT_THAT(child.client().ExpectEof(), IsOk());
  EXPECT_THAT(child.client().ShutdownWrite(), IsOk());
  EXPECT_EQ(child.code(), ExitCode::kServed);
}

// More than any buffer of the kernel's: somebody must be taking it.
TEST_F(HandleConnectionTest, TakesWhatTheClientStillSendsAfterTheReply) {
  HandlerRun child(AsInChild(RefuseEarly(ExitCode::kServed)));
  ASSERT_THAT(child.client().Send(std::string(16 << 20, 'x')), IsOk());
  EXPECT_THAT(child.client().ExpectReply("no\n"), IsOk());
  EXPECT_THAT(child.client().ExpectEof(), IsOk());
  EXPECT_THAT(child.client().ShutdownWrite(), IsOk());
  EXPECT_EQ(child.code(), ExitCode::kServed);
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

// The one test here that lasts: the patience is in real time.
TEST_F(HandleConnectionTest, LosesPatienceWithTheIdleAndWithAFlood) {
  const net::Instant start = net::Now();
  HandlerRun idle(
      AsInChild([](net::Connection&) { return ExitCode::kServed; }));
  HandlerRun flood(
      AsInChild([](net::Connection&) { return ExitCode::kServed; }));
  EXPECT_THAT(idle.client().ExpectEof(), IsOk());

  // Until the far end is closed.
  const net::Instant deadline = net::After(net::Now(), absl::Seconds(10));
  const std::string bytes(64 << 10, 'x');
  absl::Status sent;
  while (sent.ok() && net::Now() < deadline) sent = flood.client().Send(bytes);
  // ECONNRESET or EPIPE: it depends on where the sending was.
  EXPECT_THAT(sent, AnyOf(StatusIs(absl::StatusCode::kUnavailable),
                          StatusIs(absl::StatusCode::kFailedPrecondition)));
  EXPECT_EQ(flood.code(), ExitCode::kServed);
  EXPECT_EQ(idle.code(), ExitCode::kServed);
  EXPECT_GE(net::TimeUntil(net::Now(), start), kLinger);
}

TEST_F(HandleConnectionTest, DoesNotLingerForWhoWasNotServed) {
  for (ExitCode code : {ExitCode::kHandlerFailed, ExitCode::kPeerLost,
                        ExitCode::kDeadlineExceeded, ExitCode::kProtocolError,
                        static_cast<ExitCode>(42)}) {
    HandlerRun child(AsInChild(RefuseEarly(code)));
    ASSERT_THAT(child.client().Send("a request of more than one byte"), IsOk());
    EXPECT_THAT(child.client().ExpectReply("no\n"), IsOk());
    // Closed at once, with bytes unread.
    EXPECT_THAT(child.client().ReadExactly(1),
                StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_EQ(child.code(), code);
  }
}

TEST_F(HandleConnectionTest, TakesAnExceptionForAFailureOfTheHandler) {
  const Handler kThrowing[] = {
      [](net::Connection&) -> ExitCode { throw std::runtime_error("oh"); },
      [](net::Connection&) -> ExitCode { throw 42; },
      Handler(),  // an empty one throws std::bad_function_call
  };
  for (const Handler& handler : kThrowing) {
    HandlerRun child(AsInChild(handler));
    EXPECT_EQ(child.code(), ExitCode::kHandlerFailed);
  }
}

TEST_F(HandleConnectionTest, DoesNotLingerAfterAnException) {
  HandlerRun child(AsInChild([](net::Connection& connection) -> ExitCode {
    RefuseEarly(ExitCode::kServed)(connection);
    throw std::runtime_error("oh");
  }));
  ASSERT_THAT(child.client().Send("a request of more than one byte"), IsOk());
  EXPECT_THAT(child.client().ExpectReply("no\n"), IsOk());
  EXPECT_THAT(child.client().ReadExactly(1),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(HandleConnectionTest, HasServedAClientThatVanishedAfterwards) {
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
