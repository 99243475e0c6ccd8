// SPDX-License-Identifier: Apache-2.0

// What a handler does must not depend on how the network cuts its streams, and
// the broken network of one client must not disturb another client. A proxy
// between client and server splits at every offset, sends single bytes, delays
// and resets.
//
//   CHAOS_SEED=17    the first seed of random plans, instead of a random one
//   CHAOS_SEEDS=500  how many plans for each strategy and protocol

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/net/socket.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/testing/chaos_proxy.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/test_client.h"
#include "brood/testing/test_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

// A protocol with a header of several fields, as many protocols have: a command
// of three words, fields, an empty line, a body; one request after the other.
//
//   PUT name 5\r\n
//   Sum: 532\r\n       (of the body's bytes)
//   \r\n
//   hello
class Storage {
 public:
  explicit Storage(net::Connection& connection)
      : socket_(connection.socket()) {}

  ExitCode Serve() {
    for (;;) {
      const absl::optional<std::string> command = ReadLine();
      if (!command) {
        return ended_ && unread_.empty() ? ExitCode::kServed
                                         : ExitCode::kPeerLost;
      }
      const ExitCode code = Put(absl::StrSplit(*command, ' '));
      if (code != ExitCode::kServed) return code;
    }
  }

 private:
  ExitCode Put(const std::vector<std::string>& command) {
    size_t size = 0;
    if (command.size() != 3 || command[0] != "PUT" ||
        !absl::SimpleAtoi(command[2], &size)) {
      return ExitCode::kProtocolError;
    }
    int expected_sum = -1;
    for (;;) {
      const absl::optional<std::string> field = ReadLine();
      if (!field) return ExitCode::kPeerLost;
      if (field->empty()) break;
      const std::pair<std::string, std::string> parts =
          absl::StrSplit(*field, absl::MaxSplits(": ", 1));
      if (parts.first == "Sum" &&
          !absl::SimpleAtoi(parts.second, &expected_sum)) {
        return ExitCode::kProtocolError;
      }
    }
    while (unread_.size() < size) {
      if (!ReadMore()) return ExitCode::kPeerLost;
    }
    int sum = 0;
    for (char byte : unread_.substr(0, size)) sum += byte;
    unread_.erase(0, size);
    if (sum != expected_sum) return ExitCode::kProtocolError;
    const std::string reply =
        absl::StrCat("stored ", command[1], " ", size, " ", sum, "\r\n");
    return net::WriteFull(socket_, reply).ok() ? ExitCode::kServed
                                               : ExitCode::kPeerLost;
  }

  // Returns a line without its end; nothing if the stream ends before.
  absl::optional<std::string> ReadLine() {
    size_t end;
    while ((end = unread_.find("\r\n")) == std::string::npos) {
      if (!ReadMore()) return absl::nullopt;
    }
    std::string line = unread_.substr(0, end);
    unread_.erase(0, end + 2);
    return line;
  }

  bool ReadMore() {
    std::array<char, 4096> piece;
    const absl::StatusOr<size_t> got =
        net::ReadSome(socket_, absl::MakeSpan(piece));
    ended_ = got.ok() && *got == 0;
    if (!got.ok() || *got == 0) return false;
    unread_.append(piece.data(), *got);
    return true;
  }

  const net::Socket& socket_;
  std::string unread_;
  bool ended_ = false;
};

struct Protocol {
  const char* name;
  server::Handler handler;
  std::string request;
  std::string reply;
  // The size of the header of the request: its offsets matter most.
  size_t header;
};

std::vector<Protocol> Protocols() {
  const std::string header = "PUT greeting 5\r\nSum: 532\r\n\r\n";
  return {
      {"echo", server::EchoHandler(1024), "hello, again", "hello, again",
       /*header=*/12},
      {"storage",
       [](net::Connection& connection) { return Storage(connection).Serve(); },
       header + "hello" + "PUT x 2\r\nSum: 195\r\nHue: red\r\n\r\nab",
       "stored greeting 5 532\r\nstored x 2 195\r\n", header.size()}};
}

class ChaosTest : public StrategyTest {
 protected:
  void SetUp() override {
    const absl::Status supported = ChaosProxy::Supported();
    if (!supported.ok()) GTEST_SKIP() << supported;
  }

  std::unique_ptr<TestServer> StartServer(const Protocol& protocol) {
    TestServer::Setup setup;
    setup.handler = protocol.handler;
    return StrategyTest::StartServer(std::move(setup));
  }

  struct Received {
    std::string bytes;
    absl::Status end;  // OK if the stream ended in order
  };

  // Sends the request, and returns what the client gets. The client then ends
  // its side. It does not if the plan is a reset, because the server would
  // treat the request as complete.
  static Received Exchange(const TestServer& server, const Protocol& protocol,
                           const ChaosPlan& plan) {
    const absl::StatusOr<std::unique_ptr<ChaosProxy>> proxy =
        ChaosProxy::Start(server.endpoint(), plan);
    if (!proxy.ok()) return {"", proxy.status()};
    absl::StatusOr<TestClient> client =
        TestClient::Connect((*proxy)->endpoint());
    if (!client.ok()) return {"", client.status()};
    Received received;
    // Send() fails if the plan is a reset before the first byte.
    received.end = client->Send(protocol.request);
    if (received.end.ok() && !plan.resets()) {
      received.end = client->ShutdownWrite();
    }
    while (received.end.ok()) {
      const absl::StatusOr<std::string> byte = client->ReadExactly(1);
      if (absl::IsOutOfRange(byte.status())) break;
      received.end = byte.status();
      if (byte.ok()) received.bytes += *byte;
    }
    return received;
  }

  // Expects the same reply as without a proxy.
  void ExpectSame(const TestServer& server, const Protocol& protocol,
                  const ChaosPlan& plan) {
    ++good_;
    const Received received = Exchange(server, protocol, plan);
    EXPECT_EQ(received.bytes, protocol.reply) << protocol.name << ", " << plan;
    EXPECT_THAT(received.end, IsOk()) << protocol.name << ", " << plan;
  }

  // Expects the reply up to the reset of the plan.
  void ExpectReset(const TestServer& server, const Protocol& protocol,
                   const ChaosPlan& plan) {
    ++reset_;
    const Received received = Exchange(server, protocol, plan);
    EXPECT_FALSE(received.end.ok()) << protocol.name << ", " << plan;
    EXPECT_FALSE(absl::IsDeadlineExceeded(received.end))
        << protocol.name << ", " << plan;
    EXPECT_TRUE(absl::StartsWith(protocol.reply, received.bytes))
        << received.bytes << ", of " << protocol.name << ", " << plan;
    if (plan.to_client.reset_after) {
      EXPECT_EQ(received.bytes.size(), *plan.to_client.reset_after)
          << protocol.name << ", " << plan;
    }
  }

  // Ends the connection of a client without a proxy, in order.
  void EndInOrder(TestClient client) {
    ++good_;
    EXPECT_THAT(client.ShutdownWrite(), IsOk());
    EXPECT_THAT(client.ExpectEof(), IsOk());
  }

  // Expects that the processes of reset clients ended with an error, and no
  // others.
  void StopAndExpectTotals(TestServer& server) {
    const TestServer::Report report = StopAndExpectClean(server);
    EXPECT_EQ(report.totals.ended_ok, good_);
    EXPECT_EQ(report.totals.ended_error, reset_);
    EXPECT_EQ(report.totals.accepted, good_ + reset_);
    good_ = reset_ = 0;
  }

 private:
  uint64_t good_ = 0;
  uint64_t reset_ = 0;
};

TEST_P(ChaosTest, RepliesTheSameWhereverTheStreamsAreSplit) {
  for (const Protocol& protocol : Protocols()) {
    auto server = StartServer(protocol);
    ExpectSame(*server, protocol, ChaosPlan());
    for (uint64_t offset = 1; offset < protocol.request.size(); ++offset) {
      ChaosPlan plan;
      plan.to_server.splits = {offset};
      plan.to_client.splits = {offset % protocol.reply.size()};
      ExpectSame(*server, protocol, plan);
    }
    StopAndExpectTotals(*server);
  }
}

TEST_P(ChaosTest, RepliesTheSameForTwoSplitsInTheHeader) {
  for (const Protocol& protocol : Protocols()) {
    auto server = StartServer(protocol);
    for (uint64_t offset = 1; offset + 1 < protocol.header; ++offset) {
      ChaosPlan plan;
      plan.to_server.splits = {offset, offset + 1};
      ExpectSame(*server, protocol, plan);
    }
    StopAndExpectTotals(*server);
  }
}

TEST_P(ChaosTest, RepliesTheSameByteForByteAndSlowly) {
  for (const Protocol& protocol : Protocols()) {
    auto server = StartServer(protocol);
    ChaosPlan plan;
    plan.to_server.max_piece = plan.to_client.max_piece = 1;
    ExpectSame(*server, protocol, plan);
    plan.to_server.delay = plan.to_client.delay = absl::Milliseconds(2);
    ExpectSame(*server, protocol, plan);
    plan.to_server.max_piece = plan.to_client.max_piece = 7;
    plan.to_server.delay = absl::Milliseconds(20);
    ExpectSame(*server, protocol, plan);
    StopAndExpectTotals(*server);
  }
}

// Another client, which exchanges requests and replies all the while, is not
// disturbed.
TEST_P(ChaosTest, DisturbsNoOtherConnectionWhenOneIsResetAtAnyOffset) {
  for (const Protocol& protocol : Protocols()) {
    auto server = StartServer(protocol);
    TestClient neighbour = ConnectTo(*server);
    const auto expect_reset = [&](const ChaosPlan& plan) {
      ExpectReset(*server, protocol, plan);
      EXPECT_THAT(neighbour.Send(protocol.request), IsOk()) << plan;
      EXPECT_THAT(neighbour.ExpectReply(protocol.reply), IsOk()) << plan;
    };
    for (uint64_t offset = 0; offset <= protocol.request.size(); ++offset) {
      ChaosPlan plan;
      plan.to_server.reset_after = offset;
      expect_reset(plan);
    }
    for (uint64_t offset = 0; offset <= protocol.reply.size(); ++offset) {
      ChaosPlan plan;
      plan.to_client.reset_after = offset;
      expect_reset(plan);
    }
    EndInOrder(std::move(neighbour));
    StopAndExpectTotals(*server);
  }
}

// Returns the number in an environment variable, or `usual` if it is not set.
uint64_t NumberFromEnvironment(const char* variable, uint64_t usual) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

TEST_P(ChaosTest, DoesTheSameForRandomPlans) {
  const uint64_t first =
      NumberFromEnvironment("CHAOS_SEED", std::random_device{}());
  const uint64_t seeds = NumberFromEnvironment("CHAOS_SEEDS", 10);
  std::printf("CHAOS_SEED=%llu\n", static_cast<unsigned long long>(first));
  for (const Protocol& protocol : Protocols()) {
    auto server = StartServer(protocol);
    for (uint64_t seed = first; seed < first + seeds; ++seed) {
      SCOPED_TRACE(absl::StrCat("CHAOS_SEED=", seed));
      const ChaosPlan plan = ChaosPlan::Random(seed, protocol.request.size(),
                                               protocol.reply.size());
      if (plan.resets()) {
        ExpectReset(*server, protocol, plan);
      } else {
        ExpectSame(*server, protocol, plan);
      }
    }
    StopAndExpectTotals(*server);
  }
}

INSTANTIATE_TEST_SUITE_P(Over, ChaosTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
