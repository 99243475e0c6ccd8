// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/test_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "brood/net/io.h"

namespace brood::testing {
namespace {

// Returns `bytes` for an error message: escaped, the first 200 of them.
std::string Quote(absl::string_view bytes) {
  constexpr size_t kShown = 200;
  return absl::StrCat("\"", absl::CHexEscape(bytes.substr(0, kShown)), "\"",
                      bytes.size() > kShown ? "..." : "", " (", bytes.size(),
                      " bytes)");
}

// Waits for a connect() in progress to end, and returns how it did.
absl::Status AwaitConnected(int fd, absl::Duration timeout) {
  pollfd connecting = {fd, POLLOUT, 0};
  const int ready = TEMP_FAILURE_RETRY(poll(
      &connecting, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))));
  if (ready == 0) return absl::DeadlineExceededError("connect");
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, "connect");
}

// Connects a unix socket. If the queue of the listener is full, connect() of a
// non-blocking socket fails with EAGAIN and cannot be awaited; so it blocks.
absl::Status ConnectUnix(int fd, const net::Endpoint& server,
                         absl::Duration timeout) {
  const timeval limit = absl::ToTimeval(timeout);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  fcntl(fd, F_SETFL, 0);
  const int connected = TEMP_FAILURE_RETRY(
      connect(fd, server.address(), server.address_length()));
  const int error = errno;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  if (connected == 0) return absl::OkStatus();
  if (error == EAGAIN) return absl::DeadlineExceededError("connect");
  return absl::ErrnoToStatus(error, "connect");
}

}  // namespace

absl::StatusOr<TestClient> TestClient::Connect(const net::Endpoint& server,
                                               absl::Duration timeout) {
  net::Socket socket = net::Socket::Adopt(
      ::socket(server.address()->sa_family,
               SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return absl::ErrnoToStatus(errno, "socket");
  if (server.is_unix()) {
    absl::Status connected = ConnectUnix(socket.fd(), server, timeout);
    if (!connected.ok()) return connected;
    return TestClient(std::move(socket), timeout);
  }
  if (connect(socket.fd(), server.address(), server.address_length()) < 0) {
    if (errno != EINPROGRESS) return absl::ErrnoToStatus(errno, "connect");
    absl::Status connected = AwaitConnected(socket.fd(), timeout);
    if (!connected.ok()) return connected;
  }
  return TestClient(std::move(socket), timeout);
}

absl::Status TestClient::Send(absl::string_view bytes) {
  return net::WriteFull(socket_, bytes, Deadline());
}

absl::StatusOr<std::string> TestClient::ReadExactly(size_t size) {
  std::string bytes(size, '\0');
  absl::Status read =
      net::ReadFull(socket_, absl::MakeSpan(&bytes[0], size), Deadline());
  if (!read.ok()) return read;
  return bytes;
}

absl::StatusOr<std::string> TestClient::ReadUntilEof() {
  std::string bytes;
  char piece[4096];
  const net::Instant deadline = Deadline();
  for (;;) {
    const absl::StatusOr<size_t> got =
        net::ReadSome(socket_, absl::MakeSpan(piece), deadline);
    if (!got.ok()) return got.status();
    if (*got == 0) return bytes;
    bytes.append(piece, *got);
  }
}

absl::Status TestClient::ShutdownWrite() {
  if (shutdown(socket_.fd(), SHUT_WR) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "shutdown");
}

absl::Status TestClient::ExpectReply(absl::string_view expected) {
  const absl::StatusOr<std::string> reply = ReadExactly(expected.size());
  if (!reply.ok()) return reply.status();
  if (*reply == expected) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("reply: got ", Quote(*reply), ", not ", Quote(expected)));
}

absl::Status TestClient::ExpectEof() {
  const absl::StatusOr<std::string> rest = ReadUntilEof();
  if (!rest.ok()) return rest.status();
  if (rest->empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("end of stream: first came ", Quote(*rest)));
}

absl::Status TestClient::ExpectReset() {
  char piece[4096];
  const net::Instant deadline = Deadline();
  for (;;) {
    const absl::StatusOr<size_t> got =
        net::ReadSome(socket_, absl::MakeSpan(piece), deadline);
    if (absl::IsUnavailable(got.status())) return absl::OkStatus();
    if (!got.ok()) return got.status();
    if (*got == 0) {
      return absl::FailedPreconditionError("reset: the stream ended in order");
    }
  }
}

absl::Status TestClient::Echo(absl::string_view bytes) {
  absl::Status sent = Send(bytes);
  return sent.ok() ? ExpectReply(bytes) : sent;
}

void TestClient::Reset() {
  const linger at_once = {1, 0};
  setsockopt(socket_.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  socket_.Close();
}

net::Endpoint TestClient::endpoint() const {
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  getsockname(socket_.fd(), reinterpret_cast<sockaddr*>(&address), &length);
  return net::Endpoint::FromSockaddr(address);
}

}  // namespace brood::testing
