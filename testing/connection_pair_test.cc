// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/connection_pair.h"

#include <fcntl.h>

#include "absl/types/span.h"
#include "brood/net/io.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ConnectionPairTest = LeakCheck;

TEST_F(ConnectionPairTest, CarriesBytesBothWays) {
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  char received[4];
  ASSERT_THAT(net::WriteFull(pair->client, "ping"), IsOk());
  ASSERT_THAT(
      net::ReadFull(pair->connection.socket(), absl::MakeSpan(received)),
      IsOk());
  EXPECT_EQ(absl::string_view(received, 4), "ping");
  ASSERT_THAT(net::WriteFull(pair->connection.socket(), "pong"), IsOk());
  ASSERT_THAT(net::ReadFull(pair->client, absl::MakeSpan(received)), IsOk());
  EXPECT_EQ(absl::string_view(received, 4), "pong");
}

TEST_F(ConnectionPairTest, KnowsBothItsEnds) {
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  ASSERT_EQ(getsockname(pair->client.fd(),
                        reinterpret_cast<sockaddr*>(&address), &length),
            0);
  EXPECT_EQ(pair->connection.peer(), net::Endpoint::FromSockaddr(address));
  length = sizeof(address);
  ASSERT_EQ(getpeername(pair->client.fd(),
                        reinterpret_cast<sockaddr*>(&address), &length),
            0);
  EXPECT_EQ(pair->connection.local(), net::Endpoint::FromSockaddr(address));
}

TEST_F(ConnectionPairTest, BlocksAtBothEndsAsInAChild) {
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  EXPECT_EQ(fcntl(pair->connection.fd(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(fcntl(pair->client.fd(), F_GETFL) & O_NONBLOCK, 0);
}

}  // namespace
}  // namespace brood::testing
