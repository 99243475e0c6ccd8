#include "brood/server/echo_handler.h"

#include <sys/socket.h>

#include <algorithm>
#include <future>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;

constexpr absl::Duration kPatience = absl::Seconds(10);

net::Instant Deadline() { return net::After(net::Now(), kPatience); }

// A client, and a thread that echoes to it as a child would. A client that is
// destroyed first (a failed test) ends the echo too.
class Echoed {
 public:
  explicit Echoed(size_t max_size) {
    absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
    EXPECT_THAT(pair, IsOk());
    if (!pair.ok()) return;
    client_ = std::move(pair->client);
    code_ = std::async(std::launch::async, [given = std::move(pair->connection),
                                            max_size]() mutable {
      net::Connection connection = std::move(given);
      return EchoHandler(max_size)(connection);
    });
  }

  absl::Status Send(absl::string_view bytes, net::Instant deadline) {
    return net::WriteFull(client_, bytes, deadline);
  }
  absl::StatusOr<std::string> Read(size_t size) {
    std::string bytes(size, '\0');
    absl::Status status =
        net::ReadFull(client_, absl::MakeSpan(bytes), Deadline());
    if (!status.ok()) return status;
    return bytes;
  }
  // 0 at the orderly end of the stream.
  absl::StatusOr<size_t> ReadEnd() {
    char byte;
    return net::ReadSome(client_, absl::MakeSpan(&byte, 1), Deadline());
  }
  void EndStream() { EXPECT_EQ(shutdown(client_.fd(), SHUT_WR), 0); }
  void Reset() {
    const linger at_once = {1, 0};
    EXPECT_EQ(setsockopt(client_.fd(), SOL_SOCKET, SO_LINGER, &at_once,
                         sizeof(at_once)),
              0);
    client_.Close();
  }

  // What it ended with; waits for it.
  ExitCode code() {
    if (code_.wait_for(absl::ToChronoSeconds(kPatience)) !=
        std::future_status::ready) {
      ADD_FAILURE() << "the echo does not end";
      client_.Close();
    }
    return code_.get();
  }

 private:
  std::future<ExitCode> code_;
  net::Socket client_;
};

// Bytes of every value, in an order that shows a piece that is lost or swapped.
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

TEST_F(EchoHandlerTest, GivesBackEveryByteWhateverTheSizes) {
  // On the stack and, from 1025 on, on the heap.
  for (size_t max_size : {1, 2, 7, 1023, 1024, 1025, 65536}) {
    for (size_t size : {max_size - 1, max_size, max_size + 1, 2 * max_size,
                        3 * max_size + 1}) {
      // No more than the kernel's buffers hold while nobody reads.
      const std::string bytes = BytesOf(std::min(size, size_t{65537}));
      Echoed echoed(max_size);
      ASSERT_THAT(echoed.Send(bytes, Deadline()), IsOk());
      ASSERT_THAT(echoed.Read(bytes.size()), IsOkAndHolds(bytes));
      echoed.EndStream();
      EXPECT_THAT(echoed.ReadEnd(), IsOkAndHolds(0));
      EXPECT_EQ(echoed.code(), ExitCode::kServed);
    }
  }
}

TEST_F(EchoHandlerTest, AnswersEachPieceBeforeTheNextOneComes) {
  Echoed echoed(1024);
  for (const std::string piece : {"a", "bc", "\n", "def"}) {
    ASSERT_THAT(echoed.Send(piece, Deadline()), IsOk());
    ASSERT_THAT(echoed.Read(piece.size()), IsOkAndHolds(piece));
  }
}

TEST_F(EchoHandlerTest, GivesBackMoreThanEveryBufferHolds) {
  const std::string bytes = BytesOf(32 << 20);
  Echoed echoed(65536);
  std::future<absl::Status> sent = std::async(
      std::launch::async, [&] { return echoed.Send(bytes, Deadline()); });
  const absl::StatusOr<std::string> reply = echoed.Read(bytes.size());
  EXPECT_THAT(sent.get(), IsOk());
  ASSERT_THAT(reply, IsOk());
  EXPECT_TRUE(*reply == bytes);  // EXPECT_EQ would print all of it
}

TEST_F(EchoHandlerTest, StillAnswersAClientThatEndedItsSide) {
  const std::string bytes = BytesOf(65536);
  Echoed echoed(1024);
  ASSERT_THAT(echoed.Send(bytes, Deadline()), IsOk());
  echoed.EndStream();
  EXPECT_THAT(echoed.Read(bytes.size()), IsOkAndHolds(bytes));
  EXPECT_THAT(echoed.ReadEnd(), IsOkAndHolds(0));
  EXPECT_EQ(echoed.code(), ExitCode::kServed);
}

TEST_F(EchoHandlerTest, HasServedAClientThatSaidNothing) {
  Echoed echoed(1024);
  echoed.EndStream();
  EXPECT_THAT(echoed.ReadEnd(), IsOkAndHolds(0));
  EXPECT_EQ(echoed.code(), ExitCode::kServed);
}

TEST_F(EchoHandlerTest, SaysThatThePeerWasLostWhenItResets) {
  Echoed echoed(1024);
  ASSERT_THAT(echoed.Send("hello", Deadline()), IsOk());
  ASSERT_THAT(echoed.Read(5), IsOkAndHolds("hello"));
  echoed.Reset();
  EXPECT_EQ(echoed.code(), ExitCode::kPeerLost);
}

TEST_F(EchoHandlerTest, SaysThatThePeerWasLostInTheMiddleOfAReply) {
  Echoed echoed(1024);
  // Nobody reads the reply, so that it stalls, and then the sending too.
  const std::string more_than_buffers_hold(64 << 20, 'x');
  EXPECT_THAT(echoed.Send(more_than_buffers_hold,
                          net::After(net::Now(), absl::Milliseconds(50))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  echoed.Reset();
  EXPECT_EQ(echoed.code(), ExitCode::kPeerLost);
}

}  // namespace
}  // namespace brood::server
