// SPDX-License-Identifier: Apache-2.0

// The suite passes handlers that are fit, and finds each fault in those that
// are not.

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

// Handlers that are fit.

ExitCode Greet(Connection& connection) {
  return WriteFull(connection.socket(), "hello\n").ok() ? ExitCode::kServed
                                                        : ExitCode::kPeerLost;
}

// Its request ends where the stream does.
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

// Five bytes, a reply, and out, though not by a return.
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
                      Make("CountUntold", Count, "12345"),
                      Make("PingAndExit", PingAndExit, "ping\n", "pong")),
    HandlerConformance::NameOf);

// Handlers that are not: each an echo of five bytes with one fault.

class HandlerConformanceCanFailTest : public LeakCheck {};

// What reads its five bytes right, and says whether there is more to do.
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
  // For what never comes. Those who are to be seen on time have the usual.
  faulty.patience = absl::Seconds(1);
  return faulty;
}

auto FailsWith(const std::string& complaint) {
  return StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(complaint));
}

TEST_F(HandlerConformanceCanFailTest, TheHandlerWithoutAFaultPasses) {
  EXPECT_THAT(CheckManyInARow(Faulty(Echo5)), IsOk());
}

TEST_F(HandlerConformanceCanFailTest, OneThatCrashesOnAReset) {
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

TEST_F(HandlerConformanceCanFailTest, OneThatDiesOfSigpipe) {
  EXPECT_THAT(CheckClosesAtOnce(Faulty([](Connection& connection) {
                for (int i = 0; i < 100; ++i) {
                  if (write(connection.fd(), "x", 1) < 0) break;
                }
                return ExitCode::kServed;
              })),
              FailsWith("the handler was ended by SIGPIPE"));
}

TEST_F(HandlerConformanceCanFailTest, OneThatCrashesOnHalfARequest) {
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

TEST_F(HandlerConformanceCanFailTest, OneThatThrowsWhenItsClientIsGone) {
  EXPECT_THAT(CheckClosesAtOnce(Faulty([](Connection& connection) {
                const ExitCode code = Echo5(connection);
                if (code != ExitCode::kServed) {
                  throw std::runtime_error("where is it?");
                }
                return code;
              })),
              FailsWith("the handler threw"));
}

// Looks for the end of the stream before the second half of its reply, and is
// busy meanwhile, as with a computation.
ExitCode ReplyToOpenStreamsOnly(Connection& connection) {
  char request[5];
  if (!ReadPing(connection, request)) return ExitCode::kPeerLost;
  WriteFull(connection.socket(), "he").IgnoreError();
  const net::Instant deadline = net::After(net::Now(), absl::Milliseconds(500));
  pollfd half_closed = {connection.fd(), POLLRDHUP, 0};
  while (net::Now() < deadline) {
    if (poll(&half_closed, 1, 0) != 0) return ExitCode::kServed;
  }
  WriteFull(connection.socket(), "llo").IgnoreError();
  char byte;
  recv(connection.fd(), &byte, 1, 0);  // until the client is done
  return ExitCode::kServed;
}

TEST_F(HandlerConformanceCanFailTest, OneThatRepliesInPartAfterAHalfClose) {
  EXPECT_THAT(CheckHalfCloses(Faulty(ReplyToOpenStreamsOnly)),
              FailsWith("the reply was \"he\" (2 bytes), not \"hello\""));
}

TEST_F(HandlerConformanceCanFailTest, OneThatRepliesInPartThoughNobodyKnewHow) {
  HandlerUnderTest faulty = Faulty(ReplyToOpenStreamsOnly);
  faulty.reply.reset();
  faulty.patience = TestClient::kPatience;
  EXPECT_THAT(CheckHalfCloses(faulty),
              FailsWith("the reply was \"he\" (2 bytes), not \"hello\""));
}

TEST_F(HandlerConformanceCanFailTest, OneThatTakesWhatCameForTheWhole) {
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

TEST_F(HandlerConformanceCanFailTest, OneThatSpinsOnSilence) {
  HandlerUnderTest faulty = Faulty([](Connection& connection) {
    char byte;
    while (recv(connection.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           errno == EAGAIN) {
    }
    return Echo5(connection);
  });
  faulty.silence = absl::Seconds(10);  // it is found out long before
  EXPECT_THAT(CheckSilence(faulty), FailsWith("does not sleep"));
}

TEST_F(HandlerConformanceCanFailTest, OneThatDoesNotWaitForItsClient) {
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

TEST_F(HandlerConformanceCanFailTest, OneThatIgnoresTheEndOfTheStream) {
  EXPECT_THAT(
      CheckSilence(Faulty([](Connection& connection) {
        const ExitCode code = Echo5(connection);
        while (code != ExitCode::kServed) pause();
        return code;
      })),
      AllOf(FailsWith("did not end within 1s after its client had gone"),
            Not(FailsWith("does not sleep"))));
}

TEST_F(HandlerConformanceCanFailTest, OneThatGoesOnWritingToNobody) {
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

TEST_F(HandlerConformanceCanFailTest, OneThatTiresOfItsClients) {
  const Shared<std::atomic<int>> served;
  EXPECT_THAT(CheckManyInARow(Faulty([&](Connection& connection) {
                return ++*served > 20 ? ExitCode::kServed : Echo5(connection);
              })),
              FailsWith("the reply was \"\" (0 bytes), not \"hello\""));
}

TEST_F(HandlerConformanceCanFailTest, OneWhoseServerDoesNotStart) {
  HandlerUnderTest unlucky = Faulty(Echo5);
  unlucky.setup.options.max_connections = -1;
  EXPECT_THAT(CheckManyInARow(unlucky),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace brood::testing
