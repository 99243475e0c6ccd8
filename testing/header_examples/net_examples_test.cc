// SPDX-License-Identifier: Apache-2.0

// The examples in the headers of net/, word for word.

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/net/peer_address.h"
#include "brood/net/socket.h"
#include "brood/net/unique_fd.h"
#include "brood/server/handler.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/handler_run.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using server::ExitCode;
using testing::HandlerRun;
using testing::IsOk;
using testing::IsOkAndHolds;

class NetExamplesTest : public testing::LeakCheck {};

// Example of net/connection.h.
absl::Status TellClientItsAddress(const Connection& connection) {
  return WriteFull(connection.socket(), connection.peer().ToString());
}
// End of the example.

TEST_F(NetExamplesTest, ConnectionReturnsItsPeer) {
  HandlerRun run([](Connection& connection) {
    return TellClientItsAddress(connection).ok() ? ExitCode::kServed
                                                 : ExitCode::kPeerLost;
  });
  EXPECT_THAT(run.client().ReadUntilEof(),
              IsOkAndHolds(run.client().endpoint().ToString()));
  EXPECT_EQ(run.code(), ExitCode::kServed);
}

// NOLINTBEGIN(bugprone-unused-return-value): an example shows only the
// essential calls.
absl::Status BindTo6(int fd) {
  // Example of net/endpoint.h.
  absl::StatusOr<Endpoint> endpoint = Endpoint::Parse("[::1]:7000");
  if (!endpoint.ok()) return endpoint.status();
  bind(fd, endpoint->address(), endpoint->address_length());
  // End of the example.
  return absl::OkStatus();
}
// NOLINTEND(bugprone-unused-return-value)

TEST_F(NetExamplesTest, EndpointFitsBind) { EXPECT_THAT(BindTo6(-1), IsOk()); }

ExitCode BeLate() {
  // Example of net/instant.h.
  const Instant deadline = After(Now(), absl::Seconds(5));
  const absl::Duration left = TimeUntil(deadline, Now());
  if (left == absl::ZeroDuration()) return ExitCode::kDeadlineExceeded;
  // End of the example.
  return ExitCode::kServed;
}

TEST_F(NetExamplesTest, InstantReturnsTheRemainingTime) {
  EXPECT_EQ(BeLate(), ExitCode::kServed);
}

ExitCode Pong(Connection& connection) {
  // Example of net/io.h.
  char request[4];
  const Instant deadline = After(Now(), absl::Seconds(5));
  absl::Status status =
      ReadFull(connection.socket(), absl::MakeSpan(request), deadline);
  if (status.ok()) status = WriteFull(connection.socket(), "pong", deadline);
  // End of the example.
  return status.ok() ? ExitCode::kServed : ExitCode::kPeerLost;
}

TEST_F(NetExamplesTest, IoAnswersFourBytes) {
  HandlerRun run(Pong);
  EXPECT_THAT(run.client().Send("ping"), IsOk());
  EXPECT_THAT(run.client().ReadUntilEof(), IsOkAndHolds("pong"));
  EXPECT_EQ(run.code(), ExitCode::kServed);
}

absl::StatusOr<int> AcceptFrom(int listening_fd) {
  // Example of net/socket.h.
  Socket socket =
      Socket::Adopt(accept4(listening_fd, nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.valid()) return absl::ErrnoToStatus(errno, "accept4");
  shutdown(socket.fd(), SHUT_WR);        // lends it
  int fd = std::move(socket).Release();  // gives it up
  // End of the example.
  return fd;
}

absl::StatusOr<int> LockRoot() {
  // Example of net/unique_fd.h.
  UniqueFd directory =
      UniqueFd::Adopt(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return absl::ErrnoToStatus(errno, "open /");
  flock(directory.fd(), LOCK_SH);           // lends it
  int fd = std::move(directory).Release();  // gives it up
  // End of the example.
  return fd;
}

TEST_F(NetExamplesTest, UniqueFdReleasesItsDescriptor) {
  const absl::StatusOr<int> fd = LockRoot();
  ASSERT_THAT(fd, IsOk());
  close(*fd);
}

std::string Describe(const sockaddr_storage& address) {
  // Example of net/peer_address.h.
  PeerAddress peer = PeerAddress::FromSockaddr(address);  // from accept4
  if (peer.is_unix()) return "a client on this machine";
  return peer.ToString();  // "192.0.2.7:40112"
  // End of the example.
}

TEST_F(NetExamplesTest, PeerAddressHasAText) {
  sockaddr_storage address = {};
  address.ss_family = AF_UNIX;
  EXPECT_EQ(Describe(address), "a client on this machine");
  address.ss_family = AF_INET;
  EXPECT_EQ(Describe(address), "0.0.0.0:0");
}

TEST_F(NetExamplesTest, SocketReleasesItsDescriptor) {
  const Socket listening =
      Socket::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  ASSERT_EQ(listen(listening.fd(), 1), 0);  // on a port that the kernel chooses
  ASSERT_EQ(getsockname(listening.fd(), reinterpret_cast<sockaddr*>(&address),
                        &length),
            0);
  const uint16_t port = Endpoint::FromSockaddr(address).port();
  auto client = testing::TestClient::Connect(
      Endpoint::Parse("127.0.0.1:0")->WithPort(port));
  ASSERT_THAT(client, IsOk());
  const absl::StatusOr<int> fd = AcceptFrom(listening.fd());
  ASSERT_THAT(fd, IsOk());
  EXPECT_THAT(client->ExpectEof(), IsOk());
  close(*fd);
}

}  // namespace
}  // namespace brood::net
