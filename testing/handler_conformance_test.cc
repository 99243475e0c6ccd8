// SPDX-License-Identifier: Apache-2.0

// The suite passes handlers without a fault, and fails handlers with one.

#include "brood/testing/handler_conformance.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using net::Connection;
using net::ReadFull;
using net::ReadSome;
using net::WriteFull;
using server::ExitCode;
using server::Handler;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Handlers without a fault.

ExitCode Greet(Connection& connection) {
  return WriteFull(connection.socket(), "hello\n").ok() ? ExitCode::kServed
                                                        : ExitCode::kPeerLost;
}

// Counts the bytes of a request, which ends where the stream ends.
ExitCode Count(Connection& connection) {
  char piece[100];
  size_t count = 0;
  for (;;) {
    const absl::StatusOr<size_t> got =
        ReadSome(connection.socket(), absl::MakeSpan(piece));
    if (!got.ok()) return ExitCode::kPeerLost;
    if (*got == 0) break;
    count += *got;
  }
  return WriteFull(connection.socket(), absl::StrCat(count)).ok()
             ? ExitCode::kServed
             : ExitCode::kPeerLost;
}

// Reads five bytes, replies and exits without a return.
ExitCode PingAndExit(Connection& connection) {
  char request[5];
  const bool fine =
      ReadFull(connection.socket(), absl::MakeSpan(request)).ok() &&
      WriteFull(connection.socket(), "pong").ok();
  _exit(fine ? 0 : 2);
}

HandlerUnderTest Make(const std::string& name, const Handler& handler,
                      const std::string& request) {
  return HandlerUnderTest(
      name, [handler] { return handler; }, request);
}

HandlerUnderTest Make(const std::string& name, const Handler& handler,
                      const std::string& request, const std::string& reply) {
  HandlerUnderTest made = Make(name, handler, request);
  made.reply = reply;
  return made;
}

HandlerUnderTest OneAtATime() {
  HandlerUnderTest echo =
      Make("EchoToOneAtATime", server::EchoHandler(1024), "hello", "hello");
  echo.setup.options.max_connections = 1;
  return echo;
}

HandlerUnderTest EchoBy(server::StrategyKind strategy) {
  HandlerUnderTest echo = Make("EchoBy_" + std::string(NameOf(strategy)),
                               server::EchoHandler(1024), "hello", "hello");
  echo.setup.options.strategy = strategy;
  return echo;
}

INSTANTIATE_TEST_SUITE_P(
    ByEachStrategyPasses, HandlerConformance,
    ::testing::Values(EchoBy(server::StrategyKind::kSpares),
                      EchoBy(server::StrategyKind::kPool),
                      EchoBy(server::StrategyKind::kZygote)),
    HandlerConformance::NameOf);

INSTANTIATE_TEST_SUITE_P(
    Passes, HandlerConformance,
    ::testing::Values(Make("Echo", server::EchoHandler(1024), "hello", "hello"),
                      Make("EchoOfMuch", server::EchoHandler(1024),
                           std::string(256 << 10, 'x')),
                      OneAtATime(), Make("Greet", Greet, "", "hello\n"),
                      Make("Count", Count, "12345", "5"),
                      Make("CountWithoutAGivenReply", Count, "12345"),
                      Make("PingAndExit", PingAndExit, "ping\n", "pong")),
    HandlerConformance::NameOf);

// Handlers with a fault: each is an echo of five bytes with one fault.

class HandlerConformanceCanFailTest : public LeakCheck {};

// Reads five bytes correctly. Returns false if the stream has ended or failed.
bool ReadPing(Connection& connection, char (&request)[5]) {
  return ReadFull(connection.socket(), absl::MakeSpan(request)).ok();
}

ExitCode Echo5(Connection& connection) {
  char request[5];
  return ReadPing(connection, request) &&
                 WriteFull(connection.socket(),
                           absl::string_view(request, sizeof(request)))
                     .ok()
             ? ExitCode::kServed
             : ExitCode::kPeerLost;
}

HandlerUnderTest Faulty(const Handler& handler) {
  HandlerUnderTest faulty = Make("Faulty", handler, "hello", "hello");
  // Short, because some tests wait for what never happens. A test in which the
  // handler does end sets the default again.
  faulty.timeout = absl::Seconds(1);
  return faulty;
}

auto FailsWith(const std::string& complaint) {
  return StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(complaint));
}

TEST_F(HandlerConformanceCanFailTest, PassesTheHandlerWithoutAFault) {
  EXPECT_THAT(CheckManyInARow(Faulty(Echo5)), IsOk());
}

TEST_F(HandlerConformanceCanFailTest, FailsAHandlerThatCrashesOnAReset) {
  HandlerUnderTest faulty = Faulty([](Connection& connection) {
    char byte;
    if (recv(connection.fd(), &byte, 1, MSG_PEEK) < 0) std::abort();
    return Echo5(connection);
  });
  for (const auto strategy :
       {server::StrategyKind::kFork, server::StrategyKind::kSpares,
        server::StrategyKind::kPool, server::StrategyKind::kZygote}) {
    SCOPED_TRACE(std::string(NameOf(strategy)));
    faulty.setup.options.strategy = strategy;
    EXPECT_THAT(CheckResetsAtOnce(faulty),
                FailsWith("the handler was ended by SIGABRT"));
    EXPECT_THAT(CheckHalfCloses(faulty), IsOk());
  }
}

TEST_F(HandlerConformanceCanFailTest, FailsAHandlerThatDiesOfSigpipe) {
  EXPECT_THAT(CheckClosesAtOnce(Faulty([](Connection& connection) {
                for (int i = 0; i < 100; ++i) {
                  if (write(connection.fd(), "x", 1) < 0) break;
                }
                return ExitCode::kServed;
              })),
              FailsWith("the handler was ended by SIGPIPE"));
}

TEST_F(HandlerConformanceCanFailTest, FailsAHandlerThatCrashesOnHalfARequest) {
  EXPECT_THAT(CheckResetsInTheMiddle(Faulty([](Connection& connection) {
                char byte;
                if (recv(connection.fd(), &byte, 1, MSG_PEEK) <= 0) {
                  return ExitCode::kPeerLost;
                }
                char request[5];
                if (!ReadPing(connection, request)) std::abort();
                WriteFull(connection.socket(), "hello").IgnoreError();
                return ExitCode::kServed;
              })),
              FailsWith("the handler was ended by SIGABRT"));
}

TEST_F(HandlerConformanceCanFailTest,
       FailsAHandlerThatThrowsWhenItsClientIsGone) {
  EXPECT_THAT(CheckClosesAtOnce(Faulty([](Connection& connection) {
                const ExitCode code = Echo5(connection);
                if (code != ExitCode::kServed) {
                  throw std::runtime_error("the client has gone");
                }
                return code;
              })),
              FailsWith("the handler threw"));
}

// Checks for a half-close before it sends the second half of its reply, and
// uses the processor meanwhile, like a computation.
ExitCode ReplyToOpenStreamsOnly(Connection& connection) {
  char request[5];
  if (!ReadPing(connection, request)) return ExitCode::kPeerLost;
  WriteFull(connection.socket(), "hel").IgnoreError();
  const net::Instant deadline = net::After(net::Now(), absl::Milliseconds(500));
  pollfd half_closed = {connection.fd(), POLLRDHUP, 0};
  while (net::Now() < deadline) {
    if (poll(&half_closed, 1, 0) != 0) return ExitCode::kServed;
  }
  WriteFull(connection.socket(), "lo").IgnoreError();
  char byte;
  recv(connection.fd(), &byte, 1, 0);  // until the client is done
  return ExitCode::kServed;
}

TEST_F(HandlerConformanceCanFailTest,
       FailsAHandlerThatRepliesInPartAfterAHalfClose) {
  EXPECT_THAT(CheckHalfCloses(Faulty(ReplyToOpenStreamsOnly)),
              FailsWith("the reply was \"hel\" (3 bytes), not \"hello\""));
}

TEST_F(HandlerConformanceCanFailTest,
       FailsAHandlerThatRepliesInPartThoughTheReplyIsNotGiven) {
  HandlerUnderTest faulty = Faulty(ReplyToOpenStreamsOnly);
  faulty.reply.reset();
  faulty.timeout = TestClient::kTimeout;
  EXPECT_THAT(CheckHalfCloses(faulty),
              FailsWith("the reply was \"hel\" (3 bytes), not \"hello\""));
}

TEST_F(HandlerConformanceCanFailTest,
       FailsAHandlerThatTreatsAReadAsTheWholeRequest) {
  const HandlerUnderTest faulty = Faulty([](Connection& connection) {
    char request[5];
    const absl::StatusOr<size_t> got =
        ReadSome(connection.socket(), absl::MakeSpan(request));
    if (!got.ok()) return ExitCode::kPeerLost;
    WriteFull(connection.socket(), absl::string_view(request, *got))
        .IgnoreError();
    return ExitCode::kServed;
  });
  EXPECT_THAT(CheckByteAtATime(faulty),
              FailsWith("the reply was \"h\" (1 bytes), not \"hello\""));
  EXPECT_THAT(CheckManyInARow(faulty), IsOk());
}

TEST_F(HandlerConformanceCanFailTest, FailsAHandlerThatSpinsOnSilence) {
  HandlerUnderTest faulty = Faulty([](Connection& connection) {
    char byte;
    while (recv(connection.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           errno == EAGAIN) {
    }
    return Echo5(connection);
  });
  faulty.silence = absl::Seconds(10);  // the check ends long before
  EXPECT_THAT(CheckSilence(faulty), FailsWith("does not sleep"));
}

TEST_F(HandlerConformanceCanFailTest,
       FailsAHandlerThatDoesNotWaitForItsClient) {
  HandlerUnderTest faulty = Faulty([](Connection& connection) {
    char request[5];
    const absl::Status got =
        ReadFull(connection.socket(), absl::MakeSpan(request),
                 net::After(net::Now(), absl::Milliseconds(50)));
    return got.ok() ? ExitCode::kServed : ExitCode::kDeadlineExceeded;
  });
  faulty.silence = absl::Seconds(10);
  EXPECT_THAT(CheckSilence(faulty), FailsWith("did not wait for its client"));
}

TEST_F(HandlerConformanceCanFailTest,
       FailsAHandlerThatIgnoresTheEndOfTheStream) {
  EXPECT_THAT(
      CheckSilence(Faulty([](Connection& connection) {
        const ExitCode code = Echo5(connection);
        while (code != ExitCode::kServed) pause();
        return code;
      })),
      AllOf(FailsWith("did not end within 1s after its client had gone"),
            Not(FailsWith("does not sleep"))));
}

TEST_F(HandlerConformanceCanFailTest,
       FailsAHandlerThatGoesOnWritingAfterAReset) {
  EXPECT_THAT(CheckFlood(Faulty([](Connection& connection) {
                char request[5];
                while (ReadPing(connection, request)) {
                  while (!WriteFull(connection.socket(), "hello").ok()) {
                  }
                }
                return ExitCode::kServed;
              })),
              FailsWith("did not end within 1s after its client had gone"));
}

TEST_F(HandlerConformanceCanFailTest,
       FailsAHandlerThatStopsReplyingAfterTwentyClients) {
  const Shared<std::atomic<int>> served;
  EXPECT_THAT(CheckManyInARow(Faulty([&](Connection& connection) {
                return ++*served > 20 ? ExitCode::kServed : Echo5(connection);
              })),
              FailsWith("the reply was \"\" (0 bytes), not \"hello\""));
}

TEST_F(HandlerConformanceCanFailTest,
       ReturnsTheErrorOfAServerThatDoesNotStart) {
  HandlerUnderTest unlucky = Faulty(Echo5);
  unlucky.setup.options.max_connections = -1;
  EXPECT_THAT(CheckManyInARow(unlucky),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace brood::testing
