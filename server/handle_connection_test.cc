#include "brood/server/handle_connection.h"

#include <sys/socket.h>

#include <future>
#include <stdexcept>
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
using ::testing::AnyOf;

constexpr size_t kMaxSize = 1024;
constexpr absl::Duration kLinger = absl::Seconds(kLingerSeconds);
constexpr absl::Duration kPatience = absl::Seconds(10);

net::Instant Deadline() { return net::After(net::Now(), kPatience); }

// A client, and a thread that does with its connection what a child does: it is
// its only holder, and ends it when the handling ends. A client that is
// destroyed first (a failed test) ends the handling too.
class Handled {
 public:
  explicit Handled(Handler handler) {
    absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
    EXPECT_THAT(pair, IsOk());
    if (!pair.ok()) return;
    client_ = std::move(pair->client);
    code_ = std::async(std::launch::async, [given = std::move(pair->connection),
                                            handler]() mutable {
      net::Connection connection = std::move(given);
      return HandleConnection(connection, kMaxSize, handler);
    });
  }

  const net::Socket& client() const { return client_; }

  absl::Status Send(absl::string_view bytes) {
    return net::WriteFull(client_, bytes, Deadline());
  }
  absl::StatusOr<std::string> Read(size_t size) {
    std::string bytes(size, '\0');
    absl::Status status =
        net::ReadFull(client_, absl::MakeSpan(bytes), Deadline());
    if (!status.ok()) return status;
    return bytes;
  }
  // 0 at the orderly end of the stream; Unavailable if it was reset.
  absl::StatusOr<size_t> ReadEnd() {
    char byte;
    return net::ReadSome(client_, absl::MakeSpan(&byte, 1), Deadline());
  }
  absl::Status EndStream() {
    return shutdown(client_.fd(), SHUT_WR) == 0
               ? absl::OkStatus()
               : absl::ErrnoToStatus(errno, "shutdown");
  }
  void Reset() {
    const linger at_once = {1, 0};
    EXPECT_EQ(setsockopt(client_.fd(), SOL_SOCKET, SO_LINGER, &at_once,
                         sizeof(at_once)),
              0);
    client_.Close();
  }

  bool IsOver() const {
    return code_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  // What it ended with; waits for it.
  ExitCode code() {
    if (code_.wait_for(absl::ToChronoSeconds(kPatience)) !=
        std::future_status::ready) {
      ADD_FAILURE() << "the handling does not end";
      client_.Close();
    }
    return code_.get();
  }

 private:
  std::future<ExitCode> code_;
  net::Socket client_;
};

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
    Handled handled([code](net::Connection& connection) {
      EXPECT_THAT(net::WriteFull(connection.socket(), "hello"), IsOk());
      return static_cast<ExitCode>(code);
    });
    EXPECT_THAT(handled.Read(5), IsOkAndHolds("hello"));
    EXPECT_EQ(static_cast<int>(handled.code()), code);
  }
}

// A plain close would reset the connection, for bytes of the client are unread.
TEST_F(HandleConnectionTest, DeliversAReplyAlthoughItDidNotReadAll) {
  Handled handled(RefuseEarly(ExitCode::kServed));
  ASSERT_THAT(handled.Send("a request of more than one byte"), IsOk());
  EXPECT_THAT(handled.Read(3), IsOkAndHolds("no\n"));
  EXPECT_THAT(handled.ReadEnd(), IsOkAndHolds(0));
  EXPECT_THAT(handled.EndStream(), IsOk());
  EXPECT_EQ(handled.code(), ExitCode::kServed);
}

// More than any buffer of the kernel's: somebody must be taking it.
TEST_F(HandleConnectionTest, TakesWhatTheClientStillSendsAfterTheReply) {
  Handled handled(RefuseEarly(ExitCode::kServed));
  ASSERT_THAT(handled.Send(std::string(16 << 20, 'x')), IsOk());
  EXPECT_THAT(handled.Read(3), IsOkAndHolds("no\n"));
  EXPECT_THAT(handled.ReadEnd(), IsOkAndHolds(0));
  EXPECT_THAT(handled.EndStream(), IsOk());
  EXPECT_EQ(handled.code(), ExitCode::kServed);
}

TEST_F(HandleConnectionTest, EndsAsSoonAsTheClientEndsItsSide) {
  const net::Instant start = net::Now();
  Handled handled([](net::Connection&) { return ExitCode::kServed; });
  EXPECT_THAT(handled.ReadEnd(), IsOkAndHolds(0));
  EXPECT_THAT(handled.EndStream(), IsOk());
  EXPECT_EQ(handled.code(), ExitCode::kServed);
  EXPECT_LT(net::TimeUntil(net::Now(), start), kLinger);
}

// The one test here that lasts: the patience is in real time.
TEST_F(HandleConnectionTest, LosesPatienceWithTheIdleAndWithAFlood) {
  const net::Instant start = net::Now();
  Handled idle([](net::Connection&) { return ExitCode::kServed; });
  Handled flood([](net::Connection&) { return ExitCode::kServed; });
  EXPECT_THAT(idle.ReadEnd(), IsOkAndHolds(0));

  // Until the far end is closed.
  const net::Instant deadline = Deadline();
  const std::string bytes(64 << 10, 'x');
  absl::Status sent;
  while (sent.ok() && net::Now() < deadline) sent = flood.Send(bytes);
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
    Handled handled(RefuseEarly(code));
    ASSERT_THAT(handled.Send("a request of more than one byte"), IsOk());
    EXPECT_THAT(handled.Read(3), IsOkAndHolds("no\n"));
    // Closed at once, with bytes unread.
    EXPECT_THAT(handled.ReadEnd(), StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_EQ(handled.code(), code);
  }
}

TEST_F(HandleConnectionTest, TakesAnExceptionForAFailureOfTheHandler) {
  const Handler kThrowing[] = {
      [](net::Connection&) -> ExitCode { throw std::runtime_error("oh"); },
      [](net::Connection&) -> ExitCode { throw 42; },
      Handler(),  // an empty one throws std::bad_function_call
  };
  for (const Handler& handler : kThrowing) {
    Handled handled(handler);
    EXPECT_EQ(handled.code(), ExitCode::kHandlerFailed);
  }
}

TEST_F(HandleConnectionTest, DoesNotLingerAfterAnException) {
  Handled handled([](net::Connection& connection) -> ExitCode {
    RefuseEarly(ExitCode::kServed)(connection);
    throw std::runtime_error("oh");
  });
  ASSERT_THAT(handled.Send("a request of more than one byte"), IsOk());
  EXPECT_THAT(handled.Read(3), IsOkAndHolds("no\n"));
  EXPECT_THAT(handled.ReadEnd(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(HandleConnectionTest, HasServedAClientThatVanishedAfterwards) {
  std::promise<void> gone;
  Handled handled([&gone](net::Connection& connection) {
    EXPECT_THAT(net::WriteFull(connection.socket(), "hello"), IsOk());
    gone.get_future().wait();
    return ExitCode::kServed;
  });
  EXPECT_THAT(handled.Read(5), IsOkAndHolds("hello"));
  handled.Reset();
  gone.set_value();
  EXPECT_EQ(handled.code(), ExitCode::kServed);
}

}  // namespace
}  // namespace brood::server
