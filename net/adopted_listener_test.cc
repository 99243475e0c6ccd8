// SPDX-License-Identifier: Apache-2.0

// Listeners that another program has opened.

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "brood/net/listener.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;

// Returns a listening socket as another program would leave it: it blocks, and
// children inherit it.
Socket Foreign(const Endpoint& endpoint, int type = SOCK_STREAM) {
  Socket socket =
      Socket::Adopt(::socket(endpoint.address()->sa_family, type, 0));
  EXPECT_EQ(bind(socket.fd(), endpoint.address(), endpoint.address_length()), 0)
      << endpoint.ToString();
  return socket;
}

Socket ForeignListening(const Endpoint& endpoint, int type = SOCK_STREAM) {
  Socket socket = Foreign(endpoint, type);
  EXPECT_EQ(listen(socket.fd(), 8), 0);
  return socket;
}

class AdoptedListenerTest : public ::brood::testing::LeakCheck {
 protected:
  static Endpoint Parse(absl::string_view text) {
    return *Endpoint::Parse(text);
  }
  static void ExpectServes(Listener& listener) {
    const TestClient client = *TestClient::Connect(listener.endpoint());
    pollfd queue = {listener.fd(), POLLIN, 0};
    ASSERT_EQ(poll(&queue, 1, 10000), 1);
    const Accepted accepted = listener.Accept();
    ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
    EXPECT_EQ(accepted.connection->local(), listener.endpoint());
    EXPECT_EQ(accepted.connection->peer(), client.endpoint());
    EXPECT_EQ(listener.Accept().verdict, AcceptVerdict::kNoneWaiting);
  }

  const ShortDir dir_;
};

TEST_F(AdoptedListenerTest, AcceptsConnectionsLikeAListenerOfListen) {
  for (const Endpoint& endpoint :
       {Parse("127.0.0.1:0"), dir_.Socket("s"),
        Parse(absl::StrCat("unix:@brood.", getpid()))}) {
    absl::StatusOr<Listener> listener =
        Listener::Adopt(ForeignListening(endpoint));
    ASSERT_THAT(listener, IsOk());
    EXPECT_EQ(listener->endpoint().WithPort(0), endpoint);
    ExpectServes(*listener);
  }
}

TEST_F(AdoptedListenerTest, SetsKeepaliveOnItsConnections) {
  for (const char* address : {"127.0.0.1:0", "[::1]:0"}) {
    absl::StatusOr<Listener> listener =
        Listener::Adopt(ForeignListening(Parse(address)));
    ASSERT_THAT(listener, IsOk());
    const TestClient client = *TestClient::Connect(listener->endpoint());
    pollfd queue = {listener->fd(), POLLIN, 0};
    ASSERT_EQ(poll(&queue, 1, 10000), 1);
    const Accepted accepted = listener->Accept();
    ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
    int on = 0;
    socklen_t length = sizeof(on);
    getsockopt(accepted.connection->fd(), SOL_SOCKET, SO_KEEPALIVE, &on,
               &length);
    EXPECT_EQ(on, 1) << address;
  }
}

// R06: in a pool, only one of the workers that wake up gets the connection; the
// others must not block in accept, where no signal reaches them.
TEST_F(AdoptedListenerTest, BecomesNonBlockingAndCloseOnExec) {
  absl::StatusOr<Listener> listener =
      Listener::Adopt(ForeignListening(Parse("127.0.0.1:0")));
  ASSERT_THAT(listener, IsOk());
  EXPECT_EQ(fcntl(listener->fd(), F_GETFD), FD_CLOEXEC);
  ASSERT_NE(fcntl(listener->fd(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(listener->Accept().verdict, AcceptVerdict::kNoneWaiting);
}

TEST_F(AdoptedListenerTest, DoesNotWaitForDelayedAcknowledgements) {
  const absl::StatusOr<Listener> listener =
      Listener::Adopt(ForeignListening(Parse("127.0.0.1:0")));
  ASSERT_THAT(listener, IsOk());
  int no_delay = 0;
  socklen_t length = sizeof(no_delay);
  ASSERT_EQ(
      getsockopt(listener->fd(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &length),
      0);
  EXPECT_EQ(no_delay, 1);
}

TEST_F(AdoptedListenerTest, ReportsWhetherItAcceptsIpv4) {
  for (const int ipv6_only : {0, 1}) {
    Socket socket = Socket::Adopt(::socket(AF_INET6, SOCK_STREAM, 0));
    if (!socket.valid()) GTEST_SKIP() << "this machine has no IPv6";
    ASSERT_EQ(setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only,
                         sizeof(ipv6_only)),
              0);
    ASSERT_EQ(listen(socket.fd(), 8), 0);  // binds it to some port
    const absl::StatusOr<Listener> listener =
        Listener::Adopt(std::move(socket));
    ASSERT_THAT(listener, IsOk());
    EXPECT_EQ(listener->endpoint().WithPort(0),
              Parse(ipv6_only == 1 ? "[::]:0" : ":0"));
  }
}

TEST_F(AdoptedListenerTest, RefusesSocketsThatAreNotListeningStreams) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const Socket other_end = Socket::Adopt(pipe_ends[1]);
  Socket wrong[] = {
      Foreign(Parse("127.0.0.1:0")),
      Foreign(Parse("127.0.0.1:0"), SOCK_DGRAM),
      Foreign(dir_.Socket("stream")),
      Foreign(dir_.Socket("datagram"), SOCK_DGRAM),
      ForeignListening(dir_.Socket("packets"), SOCK_SEQPACKET),
      Socket::Adopt(eventfd(0, 0)),
      Socket::Adopt(pipe_ends[0]),
  };
  for (Socket& socket : wrong) {
    const int fd = socket.fd();
    EXPECT_THAT(
        Listener::Adopt(std::move(socket)),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 absl::StrCat("fd:", fd, " is not a listening stream socket")));
    EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "the descriptor is still open";
  }
}

TEST_F(AdoptedListenerTest, RefusesAConnection) {
  Listener listener = *Listener::Adopt(ForeignListening(Parse("127.0.0.1:0")));
  Socket connected = Socket::Adopt(socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(connect(connected.fd(), listener.endpoint().address(),
                    listener.endpoint().address_length()),
            0);
  EXPECT_THAT(Listener::Adopt(std::move(connected)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(AdoptedListenerTest, NamesDescriptorThatIsNotOpen) {
  EXPECT_THAT(Listener::Adopt(Socket::Adopt(12345)),
              StatusIs(absl::ErrnoToStatusCode(EBADF),
                       "fd:12345: getsockopt: Bad file descriptor"));
}

// O9: a listener can be served whatever name another program has given it, and
// is printed in one line that has no commas. Tested names: control characters,
// blanks, commas, backslashes, relative paths, one that looks abstract, the
// longest path (which has no NUL), abstract names with NULs.
TEST_F(AdoptedListenerTest, AcceptsUnixSocketWithAnyName) {
  char before[4096];
  ASSERT_NE(getcwd(before, sizeof(before)), nullptr);
  ASSERT_EQ(chdir(dir_.path().c_str()), 0);
  const std::string unique = absl::StrCat("brood.", getpid());
  const std::string longest =
      dir_.File(std::string(107 - dir_.path().size(), 'x'));
  const std::pair<std::string, std::string> kNames[] = {
      {dir_.File("a\nb"), absl::StrCat("unix:", dir_.File("a\\x0ab"))},
      {dir_.File("a \\,"),
       absl::StrCat("unix:", dir_.File("a\\x20\\x5c\\x2c"))},
      {dir_.File("\x1b[2J\x7f"),
       absl::StrCat("unix:", dir_.File("\\x1b[2J\\x7f"))},
      {"relative", "unix:relative"},
      {"./relative2", "unix:./relative2"},
      {"@at", "unix:\\x40at"},
      {longest, "unix:" + longest},
      {std::string("\0", 1) + unique + std::string("\0\n", 2),
       absl::StrCat("unix:@", unique, "\\x00\\x0a")},
  };
  for (const auto& [name, printed] : kNames) {
    Socket socket = Socket::Adopt(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof(address.sun_path));
    const auto length =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(bind(socket.fd(), reinterpret_cast<sockaddr*>(&address), length),
              0)
        << printed;
    ASSERT_EQ(listen(socket.fd(), 8), 0);
    absl::StatusOr<Listener> listener = Listener::Adopt(std::move(socket));
    ASSERT_THAT(listener, IsOk()) << printed;
    EXPECT_EQ(listener->endpoint().ToString(), printed);
    ExpectServes(*listener);
  }
  ASSERT_EQ(chdir(before), 0);
}

// In a program that was started without standard descriptors, the socket may
// have one of their numbers.
TEST_F(AdoptedListenerTest, MovesAwayFromStandardDescriptors) {
  const Socket kept = Socket::Adopt(dup(STDIN_FILENO));
  Socket socket = ForeignListening(Parse("127.0.0.1:0"));
  ASSERT_EQ(dup2(socket.fd(), STDIN_FILENO), STDIN_FILENO);
  socket.Close();
  absl::StatusOr<Listener> listener =
      Listener::Adopt(Socket::Adopt(STDIN_FILENO));
  ASSERT_EQ(dup2(kept.fd(), STDIN_FILENO), STDIN_FILENO);
  ASSERT_THAT(listener, IsOk());
  EXPECT_GT(listener->fd(), STDERR_FILENO);
  ExpectServes(*listener);
}

}  // namespace
}  // namespace brood::net
