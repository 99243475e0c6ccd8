// SPDX-License-Identifier: Apache-2.0

// ConnectionPair: both ends of one connection, without a server.
//
// For unit tests of handlers: `connection` is what a child would be given (made
// by a real Listener, over loopback, on a port of the kernel's choice) and
// `client` is the socket at its far end, which blocks. Both belong to the
// caller, in one process until it forks. Nothing else is left open.
//
// Errors: of socket, connect and accept, naming the call; DeadlineExceeded if
// the loopback does not connect within 10 s.
//
// Example:
//   absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
//   ASSERT_THAT(pair, IsOk());
//   ASSERT_THAT(net::WriteFull(pair->client, "ping"), IsOk());
//   EXPECT_EQ(handler(pair->connection), ExitCode::kServed);

#ifndef BROOD_TESTING_CONNECTION_PAIR_H_
#define BROOD_TESTING_CONNECTION_PAIR_H_

#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/socket.h"

namespace brood::testing {

struct ConnectionPair {
  static absl::StatusOr<ConnectionPair> Create();

  net::Connection connection;
  net::Socket client;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_CONNECTION_PAIR_H_
