// SPDX-License-Identifier: Apache-2.0

#include "brood/net/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <utility>

#include "absl/status/statusor.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/peer_address.h"
#include "brood/net/socket.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/short_dir.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;

const Instant kAcceptedAt = Instant() + std::chrono::hours(1000);

PeerAddress Address(const char* text) {
  return Endpoint::Parse(text)->ToAddress();
}

// Returns the accepted end of a connection to a unix listener at `endpoint`.
// The listener and the client are gone.
Connection AcceptAt(const Endpoint& endpoint) {
  const auto socket_of_kind = [] {
    return Socket::Adopt(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  };
  const Socket listener = socket_of_kind(), client = socket_of_kind();
  EXPECT_EQ(bind(listener.fd(), endpoint.address(), endpoint.address_length()),
            0);
  EXPECT_EQ(listen(listener.fd(), 1), 0);
  EXPECT_EQ(connect(client.fd(), endpoint.address(), endpoint.address_length()),
            0);
  return Connection(
      Socket::Adopt(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC)),
      PeerAddress::Unix(), PeerAddress::Unix(), kAcceptedAt);
}

using ConnectionTest = ::brood::testing::LeakCheck;

TEST_F(ConnectionTest, ReturnsWhatItWasCreatedWith) {
  Socket socket = Socket::Adopt(::socket(AF_INET, SOCK_STREAM, 0));
  const int fd = socket.fd();
  const Connection connection(std::move(socket), Address("192.0.2.7:40112"),
                              Address("192.0.2.1:7000"), kAcceptedAt);
  EXPECT_EQ(connection.fd(), fd);
  EXPECT_EQ(connection.socket().fd(), fd);
  EXPECT_EQ(connection.peer(), Address("192.0.2.7:40112"));
  EXPECT_EQ(connection.local_address(), Address("192.0.2.1:7000"));
  EXPECT_EQ(connection.accepted_at(), kAcceptedAt);
}

// The kernel would return the path of the unix socket.
TEST_F(ConnectionTest, ReturnsStoredLocalInternetAddress) {
  const ShortDir dir;
  const Connection accepted = AcceptAt(dir.Socket("socket"));
  for (const char* text : {"192.0.2.1:7000", "[2001:db8::1]:7000"}) {
    const Connection connection(Socket::Adopt(dup(accepted.fd())),
                                PeerAddress(), Address(text), kAcceptedAt);
    EXPECT_EQ(connection.local().ToString(), text);
  }
}

TEST_F(ConnectionTest, AsksTheKernelForThePathOfAUnixListener) {
  const ShortDir dir;
  const Endpoint endpoint = dir.Socket("socket");
  EXPECT_EQ(AcceptAt(endpoint).local(), endpoint);
}

TEST_F(ConnectionTest, HasNoNameIfTheListenerHasNone) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const Socket other = Socket::Adopt(pair[1]);
  const Connection connection(Socket::Adopt(pair[0]), PeerAddress::Unix(),
                              PeerAddress::Unix(), kAcceptedAt);
  EXPECT_TRUE(connection.local().is_unix());
  EXPECT_EQ(connection.local().ToString(), "unix:");
}

TEST_F(ConnectionTest, HasNoNameWhenItsSocketIsClosed) {
  const Connection connection(Socket(), PeerAddress::Unix(),
                              PeerAddress::Unix(), kAcceptedAt);
  EXPECT_EQ(connection.local().ToString(), "unix:");
}

TEST_F(ConnectionTest, MovesItsSocket) {
  Connection connection(
      Socket::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      Address("192.0.2.7:40112"), Address("192.0.2.1:7000"), kAcceptedAt);
  const int fd = connection.fd();
  const Connection moved = std::move(connection);
  EXPECT_EQ(moved.fd(), fd);
  EXPECT_EQ(moved.peer(), Address("192.0.2.7:40112"));
  EXPECT_EQ(connection.fd(), -1);  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace brood::net
