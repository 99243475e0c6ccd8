// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/chaos_proxy.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/net/listener.h"
#include "brood/net/socket.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Returns what each read returns, up to the end of the stream. Reads slowly:
// pieces that the proxy did not separate would be in the queue by then, and
// would be read together.
std::vector<std::string> ReadsOf(TestClient& reader) {
  std::vector<std::string> reads;
  std::array<char, 1024> piece;
  for (;;) {
    LetPass(absl::Milliseconds(3));
    const absl::StatusOr<size_t> got =
        net::ReadSome(reader.socket(), absl::MakeSpan(piece),
                      net::After(net::Now(), TestClient::kTimeout));
    EXPECT_THAT(got, IsOk());
    if (!got.ok() || *got == 0) return reads;
    reads.emplace_back(piece.data(), *got);
  }
}

// Both ends of a connection through a proxy.
struct Ends {
  TestClient client;
  TestClient server;
};

class ChaosProxyTest : public LeakCheck {
 protected:
  void SetUp() override {
    const absl::Status supported = ChaosProxy::Supported();
    if (!supported.ok()) GTEST_SKIP() << supported;
  }

  void Start(const ChaosPlan& plan) {
    proxy_ = ChaosProxy::Start(listener_.endpoint(), plan).value();
  }

  // The proxy makes one connection for each client, in the order of clients.
  Ends Connect() {
    TestClient client = TestClient::Connect(proxy_->endpoint()).value();
    return Ends{std::move(client), Accept()};
  }

  TestClient Accept() {
    pollfd queue = {listener_.fd(), POLLIN, 0};
    poll(&queue, 1, 10000);
    net::Accepted accepted = listener_.Accept();
    if (!accepted.connection) throw std::runtime_error("no connection came");
    const int fd = dup(accepted.connection->fd());
    return TestClient::Adopt(net::Socket::Adopt(fd));
  }

  // A client that is reset at once may get the reset as the error of connect().
  void ExpectResetAtOnce() {
    absl::StatusOr<TestClient> client = TestClient::Connect(proxy_->endpoint());
    if (client.ok()) {
      EXPECT_THAT(client->ExpectReset(), IsOk());
    } else {
      EXPECT_THAT(client.status().message(), HasSubstr("reset by peer"));
    }
  }

  net::Listener listener_ =
      net::Listener::Listen(net::Endpoint::Parse("127.0.0.1:0").value(),
                            net::kFullBacklog)
          .value();
  std::unique_ptr<ChaosProxy> proxy_;
};

TEST_F(ChaosProxyTest, LeavesAStreamAsItIsWithoutAPlan) {
  Start(ChaosPlan());
  Ends ends = Connect();
  ASSERT_THAT(ends.client.Send("abcdef"), IsOk());
  ASSERT_THAT(ends.client.ShutdownWrite(), IsOk());
  EXPECT_THAT(ReadsOf(ends.server), ElementsAre("abcdef"));
}

TEST_F(ChaosProxyTest, CutsTheStreamToTheServerWhereThePlanSays) {
  ChaosPlan plan;
  plan.to_server.splits = {1, 4};
  Start(plan);
  Ends ends = Connect();
  ASSERT_THAT(ends.client.Send("abcdef"), IsOk());
  ASSERT_THAT(ends.client.ShutdownWrite(), IsOk());
  EXPECT_THAT(ReadsOf(ends.server), ElementsAre("a", "bcd", "ef"));
}

TEST_F(ChaosProxyTest, CutsTheStreamToTheClientIntoPieces) {
  ChaosPlan plan;
  plan.to_client.splits = {3};
  plan.to_client.max_piece = 2;
  Start(plan);
  Ends ends = Connect();
  ASSERT_THAT(ends.server.Send("abcdef"), IsOk());
  ASSERT_THAT(ends.server.ShutdownWrite(), IsOk());
  EXPECT_THAT(ReadsOf(ends.client), ElementsAre("ab", "c", "de", "f"));
}

TEST_F(ChaosProxyTest, SendsSingleBytesBothWaysAtOnce) {
  ChaosPlan plan;
  plan.to_client.max_piece = plan.to_server.max_piece = 1;
  Start(plan);
  Ends ends = Connect();
  for (TestClient* end : {&ends.client, &ends.server}) {
    ASSERT_THAT(end->Send("abc"), IsOk());
    ASSERT_THAT(end->ShutdownWrite(), IsOk());
  }
  EXPECT_THAT(ReadsOf(ends.client), ElementsAre("a", "b", "c"));
  EXPECT_THAT(ReadsOf(ends.server), ElementsAre("a", "b", "c"));
}

TEST_F(ChaosProxyTest, WaitsBetweenPieces) {
  ChaosPlan plan;
  plan.to_server.max_piece = 1;
  plan.to_server.delay = absl::Milliseconds(20);
  Start(plan);
  Ends ends = Connect();
  ASSERT_THAT(ends.client.Send("abc"), IsOk());
  ASSERT_THAT(ends.server.ReadExactly(1), IsOkAndHolds("a"));
  const net::Instant first = net::Now();
  ASSERT_THAT(ends.server.ReadExactly(2), IsOkAndHolds("bc"));
  EXPECT_GE(net::Now() - first, std::chrono::milliseconds(39));
}

TEST_F(ChaosProxyTest, ResetsBothEndsAfterTheGivenBytesWereRead) {
  ChaosPlan plan;
  plan.to_server.reset_after = 3;
  Start(plan);
  Ends ends = Connect();
  ASSERT_THAT(ends.client.Send("abcdef"), IsOk());
  EXPECT_THAT(ends.server.ReadExactly(3), IsOkAndHolds("abc"));
  EXPECT_THAT(ends.server.ReadExactly(1),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(ends.client.ExpectReset(), IsOk());
}

TEST_F(ChaosProxyTest, ResetsInTheMiddleOfAReply) {
  ChaosPlan plan;
  plan.to_client.reset_after = 2;
  Start(plan);
  Ends ends = Connect();
  ASSERT_THAT(ends.server.Send("abcdef"), IsOk());
  EXPECT_THAT(ends.client.ReadExactly(2), IsOkAndHolds("ab"));
  EXPECT_THAT(ends.client.ReadExactly(1),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(ends.server.ExpectReset(), IsOk());
}

TEST_F(ChaosProxyTest, ResetsBeforeTheFirstByte) {
  ChaosPlan plan;
  plan.to_server.reset_after = 0;
  Start(plan);
  ExpectResetAtOnce();
  EXPECT_THAT(Accept().ExpectReset(), IsOk());
}

TEST_F(ChaosProxyTest, LeavesTheOtherDirectionOpenWhenOneEnds) {
  Start(ChaosPlan());
  Ends ends = Connect();
  ASSERT_THAT(ends.client.ShutdownWrite(), IsOk());
  EXPECT_THAT(ends.server.ExpectEof(), IsOk());
  ASSERT_THAT(ends.server.Send("bye"), IsOk());
  EXPECT_THAT(ends.client.ExpectReply("bye"), IsOk());
  ASSERT_THAT(ends.server.ShutdownWrite(), IsOk());
  EXPECT_THAT(ends.client.ExpectEof(), IsOk());
}

TEST_F(ChaosProxyTest, PassesAResetOn) {
  Start(ChaosPlan());
  Ends ends = Connect();
  ends.client.Reset();
  EXPECT_THAT(ends.server.ExpectReset(), IsOk());
}

TEST_F(ChaosProxyTest, ResetsAClientIfThereIsNoServer) {
  Start(ChaosPlan());
  listener_.Close();
  ExpectResetAtOnce();
}

TEST_F(ChaosProxyTest, TreatsEachConnectionAlikeAndByItself) {
  ChaosPlan plan;
  plan.to_server.splits = {2};
  Start(plan);
  Ends idle = Connect();
  ASSERT_THAT(idle.client.Send("abc"), IsOk());
  // The server reads nothing from this connection, and no other is delayed.
  for (int i = 0; i < 3; ++i) {
    Ends ends = Connect();
    ASSERT_THAT(ends.client.Send("xyz"), IsOk());
    ASSERT_THAT(ends.client.ShutdownWrite(), IsOk());
    EXPECT_THAT(ReadsOf(ends.server), ElementsAre("xy", "z"));
  }
  ASSERT_THAT(idle.client.ShutdownWrite(), IsOk());
  EXPECT_THAT(ReadsOf(idle.server), ElementsAre("ab", "c"));
}

TEST_F(ChaosProxyTest, CarriesAMegabyteUnchanged) {
  ChaosPlan plan;
  plan.to_server.splits = {1, 65536, 65537, 1000000};
  Start(plan);
  Ends ends = Connect();
  std::string bytes;
  for (int i = 0; bytes.size() < 1 << 20; ++i) absl::StrAppend(&bytes, i, ",");
  std::thread sender([&] {
    EXPECT_THAT(ends.client.Send(bytes), IsOk());
    EXPECT_THAT(ends.client.ShutdownWrite(), IsOk());
  });
  const absl::StatusOr<std::string> got = ends.server.ReadUntilEof();
  sender.join();
  ASSERT_THAT(got, IsOk());
  EXPECT_TRUE(*got == bytes) << got->size() << " of " << bytes.size();
}

TEST_F(ChaosProxyTest, ResetsWhatIsOpenWhenItEnds) {
  ChaosPlan plan;
  plan.to_server.splits = {1};
  Start(plan);
  Ends ends = Connect();
  ASSERT_THAT(ends.client.Send("abc"), IsOk());  // the server reads nothing
  proxy_.reset();
  EXPECT_THAT(ends.client.ExpectReset(), IsOk());
  EXPECT_THAT(ends.server.ExpectReset(), IsOk());
}

TEST(ChaosPlanTest, IsPrintedAsWhatItDoes) {
  ChaosPlan plan;
  EXPECT_EQ(plan.ToString(), "to server: as it is; to client: as it is");
  EXPECT_FALSE(plan.resets());
  plan.to_server.splits = {3, 9};
  plan.to_server.delay = absl::Milliseconds(1);
  plan.to_client.max_piece = 1;
  plan.to_client.reset_after = 12;
  EXPECT_TRUE(plan.resets());
  EXPECT_EQ(plan.ToString(),
            "to server: split after 3,9, delay 1ms; "
            "to client: pieces of 1, reset after 12");
}

// The plan is the same on every machine, so a seed reproduces a failure
// anywhere.
TEST(ChaosPlanTest, IsAlwaysTheSameForOneSeed) {
  EXPECT_EQ(ChaosPlan::Random(/*seed=*/17, 50, 20).ToString(),
            "to server: split after 8,18,18,37,40; "
            "to client: pieces of 1, delay 1.004ms");
}

TEST(ChaosPlanTest, DrawsEveryKindOfTrouble) {
  std::set<std::string> plans;
  int resets = 0, delays = 0, pieces = 0, splits = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const ChaosPlan plan = ChaosPlan::Random(seed, 50, 20);
    plans.insert(plan.ToString());
    resets += static_cast<int>(plan.resets());
    delays += static_cast<int>(plan.to_client.delay > absl::ZeroDuration());
    pieces += static_cast<int>(plan.to_server.max_piece > 0);
    splits += static_cast<int>(!plan.to_server.splits.empty());
    for (uint64_t split : plan.to_client.splits) EXPECT_LE(split, 21u);
  }
  EXPECT_GT(plans.size(), 290u);
  for (int kind : {resets, delays, pieces, splits}) EXPECT_GT(kind, 50);
  EXPECT_LT(resets, 150);
}

}  // namespace
}  // namespace brood::testing
