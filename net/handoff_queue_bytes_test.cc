// SPDX-License-Identifier: Apache-2.0

// HandoffBytes::Decode(): the content of a message as a pure function of its
// bytes.

#include <sys/socket.h>

#include <string>

#include "absl/status/statusor.h"
#include "brood/net/handoff_queue.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::testing::HasSubstr;

constexpr HandoffQueue::Ticket kTicket = {7, 42};
// The offset of `connections_of_host`, which follows the magic number.
constexpr size_t kConnectionsAt = 4;

class HandoffBytesTest : public ::brood::testing::LeakCheck {
 protected:
  HandoffBytesTest() : pair_(*ConnectionPair::Create()) {}

  // The bytes of a message about the connection, as Offer() makes it.
  std::string WholeMessage() {
    const absl::StatusOr<HandoffQueue> queue = HandoffQueue::Create();
    EXPECT_THAT(queue, IsOk());
    pair_.connection.set_connections_of_host(3);
    EXPECT_THAT(queue->Offer(kTicket, pair_.connection), IsOk());
    char bytes[4096];
    const ssize_t size =
        recv(queue->fd_to_await(), bytes, sizeof(bytes), MSG_DONTWAIT);
    EXPECT_GT(size, 0);
    return std::string(bytes, static_cast<size_t>(size));
  }

  ConnectionPair pair_;
};

TEST_F(HandoffBytesTest, DecodeToWhatWasOffered) {
  const auto decoded = HandoffBytes::Decode(WholeMessage(), true);
  ASSERT_THAT(decoded, IsOk());
  EXPECT_TRUE(decoded->has_connection());
  EXPECT_EQ(decoded->connections_of_host, 3u);
  EXPECT_EQ(decoded->ticket.slot, kTicket.slot);
  EXPECT_EQ(decoded->ticket.serial, kTicket.serial);
  EXPECT_EQ(decoded->peer, pair_.connection.peer());
  EXPECT_EQ(decoded->local_address, pair_.connection.local_address());
  EXPECT_EQ(decoded->accepted_at, pair_.connection.accepted_at());
}

TEST_F(HandoffBytesTest, HaveExactlyOneLength) {
  const std::string bytes = WholeMessage() + "more";
  for (size_t length = 0; length <= bytes.size(); ++length) {
    EXPECT_EQ(HandoffBytes::Decode(bytes.substr(0, length), true).ok(),
              length == bytes.size() - 4)
        << length;
  }
}

// Whichever bit is flipped, the result is a message or an error, and the same
// one each time.
TEST_F(HandoffBytesTest, DecodeOrFailForEachFlippedBit) {
  const std::string whole = WholeMessage();
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    const auto decoded = HandoffBytes::Decode(bytes, true);
    if (bit / 8 < kConnectionsAt) {
      EXPECT_THAT(decoded, StatusIs(absl::StatusCode::kInvalidArgument)) << bit;
    } else if (!decoded.ok()) {
      EXPECT_THAT(decoded, StatusIs(absl::StatusCode::kInvalidArgument,
                                    HasSubstr("its addresses are not valid")))
          << bit;
    } else {
      EXPECT_FALSE(decoded->peer.ToString().empty());
      EXPECT_FALSE(decoded->local_address.ToString().empty());
    }
    EXPECT_FALSE(HandoffBytes::Decode(bytes, false).ok());
  }
}

}  // namespace
}  // namespace brood::net
