// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_CONNECTION_PAIR_H_
#define BROOD_TESTING_CONNECTION_PAIR_H_

#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/socket.h"

namespace brood::testing {

// ConnectionPair is both ends of one connection, without a server.
//
// For unit tests of handlers. The caller owns both ends, in one process until
// it forks. Nothing else is left open.
//
// Example:
//   absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
//   ASSERT_THAT(pair, IsOk());
//   ASSERT_THAT(net::WriteFull(pair->client, "ping"), IsOk());
//   EXPECT_EQ(handler(pair->connection), ExitCode::kServed);
struct ConnectionPair {
  // Connects over loopback, by a port that the kernel chooses. Returns the
  // errors of socket, connect and accept, and DeadlineExceeded if the
  // connection does not arrive within 10 s.
  static absl::StatusOr<ConnectionPair> Create();

  // What a child would be given: a real Listener accepted it.
  net::Connection connection;
  // The other end, a blocking socket.
  net::Socket client;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_CONNECTION_PAIR_H_
