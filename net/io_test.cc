// SPDX-License-Identifier: Apache-2.0

#include "brood/net/io.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::LeakCheck;
using ::brood::testing::StatusIs;
using ::testing::HasSubstr;

constexpr absl::Duration kSoon = absl::Milliseconds(30);
// For events that must happen, and for the other end: never expires in a test
// that passes.
constexpr absl::Duration kTestTimeout = absl::Seconds(10);

Instant In(absl::Duration length) { return After(Now(), length); }

// Returns more bytes than the kernel buffers for one connection, no two parts
// of which are equal.
const std::string& ManyBytes() {
  static const std::string* const kBytes = [] {
    auto* bytes = new std::string;
    for (int i = 0; bytes->size() < (12 << 20); ++i) absl::StrAppend(bytes, i);
    return bytes;
  }();
  return *kBytes;
}

// `ours` is the socket under test, blocking or not; `peer` is the other end.
class IoTest : public LeakCheck, public ::testing::WithParamInterface<bool> {
 protected:
  IoTest() : pair_(*ConnectionPair::Create()) {
    if (GetParam()) fcntl(ours().fd(), F_SETFL, O_NONBLOCK);
    const int on = 1;
    setsockopt(peer().fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }

  const Socket& ours() { return pair_.connection.socket(); }
  Socket& peer() { return pair_.client; }
  void ResetByPeer() {
    const linger at_once = {1, 0};
    setsockopt(peer().fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    peer().Close();
  }
  void SendFromPeer(absl::string_view bytes) {
    ASSERT_THAT(WriteFull(peer(), bytes, In(kTestTimeout)), IsOk());
  }
  // Writes ManyBytes() to a peer that calls `start` and then reads them all.
  void WriteManyBytes(Instant deadline, const std::function<void()>& start) {
    const std::string& sent = ManyBytes();
    std::string received(sent.size(), '\0');
    std::thread reader([&] {
      start();
      EXPECT_THAT(ReadFull(peer(), absl::MakeSpan(&received[0], sent.size()),
                           In(kTestTimeout)),
                  IsOk());
    });
    EXPECT_THAT(WriteFull(ours(), sent, deadline), IsOk());
    reader.join();
    EXPECT_TRUE(received == sent);
  }

  ConnectionPair pair_;
};

INSTANTIATE_TEST_SUITE_P(OnSocketsThatBlockAndThatDoNot, IoTest,
                         ::testing::Bool(), [](const auto& info) {
                           return info.param ? "NonBlocking" : "Blocking";
                         });

TEST_P(IoTest, ReadSomeReturnsArrivedBytesUpToTheSizeOfTheBuffer) {
  SendFromPeer("hello");
  char bytes[4];
  EXPECT_THAT(ReadSome(ours(), absl::MakeSpan(bytes)), IsOkAndHolds(4));
  EXPECT_EQ(absl::string_view(bytes, 4), "hell");
  EXPECT_THAT(ReadSome(ours(), absl::MakeSpan(bytes)), IsOkAndHolds(1));
  EXPECT_EQ(bytes[0], 'o');
}

TEST_P(IoTest, ReadSomeReturnsZeroAtTheEndOfTheStream) {
  peer().Close();
  char byte;
  EXPECT_THAT(ReadSome(ours(), absl::MakeSpan(&byte, 1)), IsOkAndHolds(0));
  EXPECT_THAT(ReadSome(ours(), absl::MakeSpan(&byte, 1), In(kSoon)),
              IsOkAndHolds(0));
}

TEST_P(IoTest, ReadSomeReadsArrivedBytesAfterTheDeadline) {
  SendFromPeer("x");
  char byte;
  EXPECT_THAT(ReadSome(ours(), absl::MakeSpan(&byte, 1), In(-kSoon)),
              IsOkAndHolds(1));
}

TEST_P(IoTest, ReadFullJoinsSingleBytes) {
  for (Instant deadline : {Never(), In(kTestTimeout)}) {
    std::thread writer([this] {
      for (char byte = 'a'; byte <= 'z'; ++byte) {
        SendFromPeer(absl::string_view(&byte, 1));
      }
    });
    char bytes[26];
    EXPECT_THAT(ReadFull(ours(), absl::MakeSpan(bytes), deadline), IsOk());
    EXPECT_EQ(absl::string_view(bytes, 26), "abcdefghijklmnopqrstuvwxyz");
    writer.join();
  }
}

TEST_P(IoTest, ReadFullOfZeroBytesDoesNotWait) {
  EXPECT_THAT(ReadFull(ours(), {}), IsOk());
}

TEST_P(IoTest, WriteFullWritesMoreThanTheKernelTakesAtATime) {
  for (Instant deadline : {Never(), In(kTestTimeout)}) {
    WriteManyBytes(deadline, [] {});
  }
}

TEST_P(IoTest, ReadFailsAtTheDeadlineAndNotEarlier) {
  const Instant deadline = In(kSoon);
  char byte;
  EXPECT_THAT(
      ReadSome(ours(), absl::MakeSpan(&byte, 1), deadline),
      StatusIs(absl::StatusCode::kDeadlineExceeded, "recv: deadline passed"));
  EXPECT_GE(Now(), deadline);
}

TEST_P(IoTest, ReadFullCountsItsDeadlineFromItsStart) {
  SendFromPeer("hal");
  const Instant deadline = In(kSoon);
  char bytes[4];
  EXPECT_THAT(ReadFull(ours(), absl::MakeSpan(bytes), deadline),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_GE(Now(), deadline);
}

TEST_P(IoTest, WriteFullFailsAtTheDeadlineIfThePeerDoesNotRead) {
  const Instant deadline = In(kSoon);
  EXPECT_THAT(
      WriteFull(ours(), ManyBytes(), deadline),
      StatusIs(absl::StatusCode::kDeadlineExceeded, "send: deadline passed"));
  EXPECT_GE(Now(), deadline);
}

TEST_P(IoTest, ReadFullReportsTheNumberOfMissingBytes) {
  SendFromPeer("abc");
  peer().Close();
  char bytes[10];
  EXPECT_THAT(ReadFull(ours(), absl::MakeSpan(bytes)),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("7 bytes")));
}

TEST_P(IoTest, AResetIsUnavailableAndNamesTheCall) {
  ResetByPeer();
  char byte;
  EXPECT_THAT(ReadSome(ours(), absl::MakeSpan(&byte, 1)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("recv")));
}

// A SIGPIPE would end this process, which does not ignore it.
TEST_P(IoTest, WritingToAPeerThatIsGoneRaisesNoSignal) {
  ResetByPeer();
  char byte;
  ASSERT_THAT(ReadSome(ours(), absl::MakeSpan(&byte, 1)),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(WriteFull(ours(), "x"),
              StatusIs(absl::ErrnoToStatusCode(EPIPE), HasSubstr("send")));
  EXPECT_THAT(WriteFull(ours(), "x", In(kSoon)),
              StatusIs(absl::ErrnoToStatusCode(EPIPE), HasSubstr("send")));
}

TEST_P(IoTest, LingerEndsOurSideAndAwaitsThePeersEnd) {
  ASSERT_THAT(WriteFull(ours(), "bye"), IsOk());
  std::thread far_end([this] {
    char bytes[3];
    EXPECT_THAT(ReadFull(peer(), absl::MakeSpan(bytes), In(kTestTimeout)),
                IsOk());
    EXPECT_THAT(ReadSome(peer(), absl::MakeSpan(bytes), In(kTestTimeout)),
                IsOkAndHolds(0));
    peer().Close();
  });
  EXPECT_THAT(Linger(ours(), 1024, kTestTimeout), IsOk());
  far_end.join();
}

// The purpose of Linger(): with unread bytes the close would be a reset, and
// the peer would lose the reply.
TEST_P(IoTest, LingerDiscardsBytesThatWouldResetTheReply) {
  const std::string flood(200 << 10, 'x');
  SendFromPeer(flood);
  shutdown(peer().fd(), SHUT_WR);
  ASSERT_THAT(WriteFull(ours(), "bye"), IsOk());
  EXPECT_THAT(Linger(ours(), 1000, kTestTimeout), IsOk());
  { const net::Connection closed = std::move(pair_.connection); }
  char bytes[3];
  EXPECT_THAT(ReadFull(peer(), absl::MakeSpan(bytes), In(kTestTimeout)),
              IsOk());
  EXPECT_THAT(ReadSome(peer(), absl::MakeSpan(bytes), In(kTestTimeout)),
              IsOkAndHolds(0));
}

TEST_P(IoTest, LingerStopsAtTheTimeoutIfThePeerStays) {
  const Instant soon = In(kSoon);
  EXPECT_THAT(Linger(ours(), 1024, kSoon),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_GE(Now(), soon);
}

TEST_P(IoTest, LingerStopsAtTheTimeoutIfThePeerNeverStopsSending) {
  std::thread flood([this] {
    const std::string piece(1000, 'x');
    while (send(peer().fd(), piece.data(), piece.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  EXPECT_THAT(Linger(ours(), 1024, kSoon),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  // The close of a socket with unread bytes resets, and ends the flood.
  { const net::Connection closed = std::move(pair_.connection); }
  flood.join();
}

TEST_P(IoTest, LingerReportsThatThePeerIsGone) {
  ResetByPeer();
  EXPECT_THAT(Linger(ours(), 1024, kTestTimeout),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("recv")));
}

// A timer that interrupts every millisecond, without SA_RESTART; AwaitTen()
// waits, in another thread, until it has done so ten times.
class Storm {
 public:
  Storm() {
    sem_init(&interrupted_, 0, 0);
    struct sigaction action = {};
    action.sa_handler = [](int) { sem_post(&interrupted_); };
    sigaction(SIGALRM, &action, &old_action_);
    const itimerval every_millisecond = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &every_millisecond, nullptr);
  }
  ~Storm() {
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
    sigaction(SIGALRM, &old_action_, nullptr);
  }
  static void AwaitTen() {
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, nullptr);  // the main thread gets it
    for (int i = 0; i < 10; ++i) TEMP_FAILURE_RETRY(sem_wait(&interrupted_));
  }

 private:
  static sem_t interrupted_;
  struct sigaction old_action_;
};
sem_t Storm::interrupted_;

TEST_P(IoTest, ReadFullIsNotInterrupted) {
  for (Instant deadline : {Never(), In(kTestTimeout)}) {
    const Storm storm;
    std::thread writer([this] {
      for (absl::string_view half : {"hello ", "world"}) {
        Storm::AwaitTen();
        SendFromPeer(half);
      }
    });
    char bytes[11];
    EXPECT_THAT(ReadFull(ours(), absl::MakeSpan(bytes), deadline), IsOk());
    EXPECT_EQ(absl::string_view(bytes, 11), "hello world");
    writer.join();
  }
}

TEST_P(IoTest, WriteFullIsNotInterrupted) {
  for (Instant deadline : {Never(), In(kTestTimeout)}) {
    const Storm storm;
    // By then the writer has filled the buffers, and waits.
    WriteManyBytes(deadline, Storm::AwaitTen);
  }
}

TEST_P(IoTest, LingerIsNotInterrupted) {
  const Storm storm;
  std::thread far_end([this] {
    Storm::AwaitTen();
    peer().Close();
  });
  EXPECT_THAT(Linger(ours(), 1024, kTestTimeout), IsOk());
  far_end.join();
}

TEST_P(IoTest, DeadlineHoldsDespiteInterruptions) {
  const Storm storm;
  const Instant deadline = In(kSoon);
  char byte;
  EXPECT_THAT(ReadSome(ours(), absl::MakeSpan(&byte, 1), deadline),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_GE(Now(), deadline);
}

// On a unix socket the kernel cannot discard unread bytes: Linger() needs a
// buffer.
TEST(UnixIoTest, LingerDiscardsLateBytesOfAUnixSocket) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const Socket ours = Socket::Adopt(ends[0]);
  Socket peer = Socket::Adopt(ends[1]);
  const std::string late(10000, 'x');
  ASSERT_EQ(send(peer.fd(), late.data(), late.size(), 0), 10000);
  ASSERT_EQ(shutdown(peer.fd(), SHUT_WR), 0);
  EXPECT_THAT(Linger(ours, 1024, absl::Seconds(10)), IsOk());
  char byte;
  EXPECT_EQ(recv(peer.fd(), &byte, 1, MSG_DONTWAIT), 0)
      << "no reset, because every byte was read";
}

}  // namespace
}  // namespace brood::net
