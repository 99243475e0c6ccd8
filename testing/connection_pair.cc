// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/connection_pair.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"

namespace brood::testing {
namespace {

constexpr int kTimeoutMs = 10000;

}  // namespace

absl::StatusOr<ConnectionPair> ConnectionPair::Create() {
  const absl::StatusOr<net::Endpoint> any_port =
      net::Endpoint::Parse("127.0.0.1:0");
  absl::StatusOr<net::Listener> listener =
      net::Listener::Listen(*any_port, /*backlog=*/1);
  if (!listener.ok()) return listener.status();

  net::Socket client =
      net::Socket::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!client.valid()) return absl::ErrnoToStatus(errno, "socket");
  const net::Endpoint& server = listener->endpoint();
  if (TEMP_FAILURE_RETRY(connect(client.fd(), server.address(),
                                 server.address_length())) < 0) {
    return absl::ErrnoToStatus(errno, "connect");
  }
  // connect() may return before the connection is in the queue of the listener.
  pollfd queue = {listener->fd(), POLLIN, 0};
  if (TEMP_FAILURE_RETRY(poll(&queue, 1, kTimeoutMs)) != 1) {
    return absl::DeadlineExceededError("poll: no connection arrived");
  }
  net::Accepted accepted = listener->Accept();
  if (!accepted.connection) {
    return absl::ErrnoToStatus(accepted.error, "accept4");
  }
  return ConnectionPair{*std::move(accepted.connection), std::move(client)};
}

}  // namespace brood::testing
