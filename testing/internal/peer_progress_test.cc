// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/internal/peer_progress.h"

#include <array>
#include <cerrno>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "brood/net/io.h"
#include "brood/net/socket.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class PeerProgressTest : public LeakCheck {
 protected:
  void SetUp() override {
    const absl::Status supported = PeerProgress::Supported();
    if (!supported.ok()) GTEST_SKIP() << supported;
  }
};

TEST_F(PeerProgressTest, ReportsTheBytesThatWereReadAndNoMore) {
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  absl::StatusOr<PeerProgress> client =
      PeerProgress::Of(pair->connection.socket());
  ASSERT_THAT(client, IsOk());
  EXPECT_THAT(client->HasRead(0), IsOkAndHolds(true));
  EXPECT_THAT(client->HasRead(1), IsOkAndHolds(false));
  ASSERT_THAT(net::WriteFull(pair->connection.socket(), "hello"), IsOk());
  EXPECT_THAT(client->HasRead(5), IsOkAndHolds(false));

  std::array<char, 2> bytes;
  ASSERT_THAT(net::ReadFull(pair->client, absl::MakeSpan(bytes)), IsOk());
  EXPECT_THAT(client->HasRead(5), IsOkAndHolds(false));
  std::array<char, 3> rest;
  ASSERT_THAT(net::ReadFull(pair->client, absl::MakeSpan(rest)), IsOk());
  EXPECT_THAT(client->HasRead(5), IsOkAndHolds(true));
  EXPECT_THAT(client->HasRead(6), IsOkAndHolds(false));
}

TEST_F(PeerProgressTest, DistinguishesTheTwoEnds) {
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  absl::StatusOr<PeerProgress> client =
      PeerProgress::Of(pair->connection.socket());
  absl::StatusOr<PeerProgress> server = PeerProgress::Of(pair->client);
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(server, IsOk());
  std::array<char, 1> byte;
  ASSERT_THAT(net::WriteFull(pair->client, "x"), IsOk());
  ASSERT_THAT(net::ReadFull(pair->connection.socket(), absl::MakeSpan(byte)),
              IsOk());
  EXPECT_THAT(server->HasRead(1), IsOkAndHolds(true));
  EXPECT_THAT(client->HasRead(1), IsOkAndHolds(false));
}

TEST_F(PeerProgressTest, ReportsEverythingAsReadOnceTheEndIsClosed) {
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  absl::StatusOr<PeerProgress> client =
      PeerProgress::Of(pair->connection.socket());
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(net::WriteFull(pair->connection.socket(), "hello"), IsOk());
  EXPECT_THAT(client->HasRead(5), IsOkAndHolds(false));
  pair->client.Close();  // a reset: "hello" is unread
  EXPECT_TRUE(Await([&] { return client->HasRead(5).value_or(false); }));
}

TEST_F(PeerProgressTest, ReturnsTheErrorOfASocketThatIsNotConnected) {
  EXPECT_THAT(PeerProgress::Of(net::Socket()),
              StatusIs(absl::ErrnoToStatus(EBADF, "").code()));
}

}  // namespace
}  // namespace brood::testing
