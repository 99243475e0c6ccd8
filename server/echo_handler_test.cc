// SPDX-License-Identifier: Apache-2.0

#include "brood/server/echo_handler.h"

#include <algorithm>
#include <future>
#include <string>

#include "absl/time/time.h"
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

// Returns bytes of every value, in an order that shows a piece that is lost or
// swapped.
std::string BytesOf(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 20261122;
  for (char& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

using EchoHandlerTest = ::brood::testing::LeakCheck;

TEST_F(EchoHandlerTest, SendsEveryByteBackWhateverTheSizes) {
  // Buffers on the stack and, from 1025 bytes on, on the heap.
  for (size_t max_size : {1, 2, 7, 1023, 1024, 1025, 65536}) {
    for (size_t size : {max_size - 1, max_size, max_size + 1, 2 * max_size,
                        3 * max_size + 1}) {
      // No more than the buffers of the kernel hold while the client reads
      // nothing.
      const std::string bytes = BytesOf(std::min(size, size_t{65537}));
      HandlerRun echo(EchoHandler(max_size));
      ASSERT_THAT(echo.client().Send(bytes), IsOk());
      ASSERT_THAT(echo.client().ExpectReply(bytes), IsOk());
      EXPECT_THAT(echo.client().ShutdownWrite(), IsOk());
      EXPECT_THAT(echo.client().ExpectEof(), IsOk());
      EXPECT_EQ(echo.code(), ExitCode::kServed);
    }
  }
}

TEST_F(EchoHandlerTest, AnswersEachPieceBeforeTheNextOneComes) {
  HandlerRun echo(EchoHandler(1024));
  for (const std::string piece : {"a", "bc", "\n", "def"}) {
    ASSERT_THAT(echo.client().Echo(piece), IsOk());
  }
}

TEST_F(EchoHandlerTest, SendsBackMoreThanEveryBufferHolds) {
  const std::string bytes = BytesOf(32 << 20);
  HandlerRun echo(EchoHandler(65536));
  std::future<absl::Status> sent =
      std::async(std::launch::async, [&] { return echo.client().Send(bytes); });
  EXPECT_THAT(echo.client().ExpectReply(bytes), IsOk());
  EXPECT_THAT(sent.get(), IsOk());
}

TEST_F(EchoHandlerTest, StillAnswersAClientThatEndedItsSide) {
  const std::string bytes = BytesOf(65536);
  HandlerRun echo(EchoHandler(1024));
  ASSERT_THAT(echo.client().Send(bytes), IsOk());
  EXPECT_THAT(echo.client().ShutdownWrite(), IsOk());
  EXPECT_THAT(echo.client().ExpectReply(bytes), IsOk());
  EXPECT_THAT(echo.client().ExpectEof(), IsOk());
  EXPECT_EQ(echo.code(), ExitCode::kServed);
}

TEST_F(EchoHandlerTest, ReturnsServedForAClientThatSentNothing) {
  HandlerRun echo(EchoHandler(1024));
  EXPECT_THAT(echo.client().ShutdownWrite(), IsOk());
  EXPECT_THAT(echo.client().ExpectEof(), IsOk());
  EXPECT_EQ(echo.code(), ExitCode::kServed);
}

TEST_F(EchoHandlerTest, ReturnsPeerLostWhenTheClientResets) {
  HandlerRun echo(EchoHandler(1024));
  ASSERT_THAT(echo.client().Echo("hello"), IsOk());
  echo.client().Reset();
  EXPECT_EQ(echo.code(), ExitCode::kPeerLost);
}

TEST_F(EchoHandlerTest, ReturnsPeerLostInTheMiddleOfAReply) {
  HandlerRun echo(EchoHandler(1024));
  // The client reads nothing, so the reply stalls, and then its own sending
  // too.
  const std::string more_than_buffers_hold(64 << 20, 'x');
  EXPECT_THAT(net::WriteFull(echo.client().socket(), more_than_buffers_hold,
                             net::After(net::Now(), absl::Milliseconds(50))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  echo.client().Reset();
  EXPECT_EQ(echo.code(), ExitCode::kPeerLost);
}

}  // namespace
}  // namespace brood::server
