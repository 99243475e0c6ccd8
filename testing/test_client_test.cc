// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/test_client.h"

#include <poll.h>

#include <string>
#include <utility>

#include "brood/net/io.h"
#include "brood/net/listener.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kShortTimeout = absl::Milliseconds(20);

// Has both ends of the connection of a client in the test process.
class TestClientTest : public LeakCheck {
 protected:
  TestClientTest()
      : listener_(*net::Listener::Listen(*net::Endpoint::Parse("127.0.0.1:0"),
                                         net::kFullBacklog)) {}

  TestClient Connect(absl::Duration timeout = TestClient::kTimeout) {
    absl::StatusOr<TestClient> client =
        TestClient::Connect(listener_.endpoint(), timeout);
    EXPECT_THAT(client, IsOk());
    pollfd queue = {listener_.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&queue, 1, 10000), 1);
    far_end_ = std::move(listener_.Accept().connection);
    return *std::move(client);
  }
  const net::Socket& far_end() { return far_end_->socket(); }

  net::Listener listener_;
  absl::optional<net::Connection> far_end_;
};

TEST_F(TestClientTest, SendsAndReadsExactlyTheGivenBytes) {
  TestClient client = Connect();
  ASSERT_THAT(net::WriteFull(far_end(), "hello world"), IsOk());
  EXPECT_THAT(client.ReadExactly(5), IsOkAndHolds("hello"));
  EXPECT_THAT(client.ExpectReply(" world"), IsOk());
  ASSERT_THAT(client.Send("thanks"), IsOk());
  char thanks[6];
  ASSERT_THAT(net::ReadFull(far_end(), absl::MakeSpan(thanks)), IsOk());
  EXPECT_EQ(absl::string_view(thanks, 6), "thanks");
}

TEST_F(TestClientTest, QuotesAReplyThatIsNotTheExpectedOne) {
  TestClient client = Connect();
  ASSERT_THAT(net::WriteFull(far_end(), "no\n"), IsOk());
  EXPECT_THAT(client.ExpectReply("yes"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("got \"no\\n\" (3 bytes), not \"yes\"")));
}

TEST_F(TestClientTest, WaitsNoLongerThanItsTimeout) {
  TestClient client = Connect(kShortTimeout);
  EXPECT_THAT(client.ReadExactly(1),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(client.ReadUntilEof(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(client.ExpectEof(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(client.ExpectReset(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(client.Send(std::string(64 << 20, 'x')),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(TestClientTest, DistinguishesAnOrderlyEndFromAReset) {
  TestClient client = Connect();
  far_end_.reset();
  EXPECT_THAT(client.ExpectReset(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(client.ExpectEof(), IsOk());

  TestClient reset = Connect();
  ASSERT_THAT(reset.Send("unread"), IsOk());
  char first;
  ASSERT_THAT(net::ReadFull(far_end(), absl::MakeSpan(&first, 1)), IsOk());
  far_end_.reset();
  EXPECT_THAT(reset.ExpectEof(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(TestClientTest, SeesAReset) {
  TestClient client = Connect();
  ASSERT_THAT(client.Send("unread"), IsOk());
  char first;
  ASSERT_THAT(net::ReadFull(far_end(), absl::MakeSpan(&first, 1)), IsOk());
  far_end_.reset();
  EXPECT_THAT(client.ExpectReset(), IsOk());
}

TEST_F(TestClientTest, QuotesWhatCameBeforeTheEnd) {
  TestClient client = Connect();
  ASSERT_THAT(net::WriteFull(far_end(), "late"), IsOk());
  far_end_.reset();
  EXPECT_THAT(client.ExpectEof(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("\"late\" (4 bytes)")));
}

TEST_F(TestClientTest, ReadsOnAfterItEndedItsSide) {
  TestClient client = Connect();
  ASSERT_THAT(client.ShutdownWrite(), IsOk());
  char ignored;
  EXPECT_THAT(net::ReadSome(far_end(), absl::MakeSpan(&ignored, 1)),
              IsOkAndHolds(0));
  ASSERT_THAT(net::WriteFull(far_end(), "reply"), IsOk());
  far_end_.reset();
  EXPECT_THAT(client.ReadUntilEof(), IsOkAndHolds("reply"));
}

TEST_F(TestClientTest, ResetsTheConnection) {
  TestClient client = Connect();
  client.Reset();
  char ignored;
  EXPECT_THAT(net::ReadSome(far_end(), absl::MakeSpan(&ignored, 1)),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(TestClientTest, AdoptsASocketAndNeverBlocksOnIt) {
  absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  ASSERT_THAT(pair, IsOk());
  ASSERT_THAT(net::WriteFull(pair->connection.socket(), "hello"), IsOk());
  TestClient client = TestClient::Adopt(std::move(pair->client), kShortTimeout);
  EXPECT_THAT(client.ExpectReply("hello"), IsOk());
  EXPECT_THAT(client.ReadExactly(1),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(TestClientTest, ReturnsUnavailableIfItIsRefused) {
  const net::Endpoint closed = listener_.endpoint();
  listener_.Close();
  EXPECT_THAT(TestClient::Connect(closed),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("connect")));
}

TEST_F(TestClientTest, IsThePeerThatTheServerSees) {
  TestClient client = Connect();
  EXPECT_EQ(client.endpoint(), far_end_->peer());
}

}  // namespace
}  // namespace brood::testing
