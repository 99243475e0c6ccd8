// SPDX-License-Identifier: Apache-2.0

// What else is in the program of a server: a second server, exit handlers, and
// the state of the handler object.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/io.h"
#include "brood/server/connection_report.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/server/totals.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/shared.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using server::TcpServer;

class NeighboursTest : public StrategyTest {
 protected:
  static server::Options SilentOptions() {
    server::Options options;
    options.listen = {"127.0.0.1:0"};
    options.log.level = server::LogLevel::kOff;
    options.strategy = row().strategy;
    options.spares.min = 2;
    options.pool.workers = 6;
    return options;
  }
  static TestServer::Setup SilentSetup() {
    TestServer::Setup setup;
    setup.options = SilentOptions();
    return setup;
  }
};

INSTANTIATE_TEST_SUITE_P(With, NeighboursTest, EachStrategy(), StrategyName());

// The second server of a program, as the test process sees it.
struct Second {
  std::atomic<int> port{0};
  std::atomic<bool> asked_to_stop{false}, gone{false};
  server::Totals totals;

  // Waits until the second server listens, and returns its address.
  net::Endpoint endpoint() {
    EXPECT_TRUE(Await([&] { return port != 0; }));
    return net::Endpoint::Parse("127.0.0.1:0")
        ->WithPort(static_cast<uint16_t>(port));
  }
};

// Steps both servers, each when it has something to do, until both stopped.
absl::Status RunBoth(TcpServer& first, const server::Options& options,
                     Second& second) {
  auto other = TcpServer::Create(options, server::EchoHandler(64));
  if (!other.ok()) return other.status();
  const int first_fd = *first.PollableFd();
  int other_fd = *(*other)->PollableFd();
  second.port = (*other)->endpoints()[0].port();
  bool first_goes_on = true;
  while (first_goes_on || *other != nullptr) {
    pollfd polled[] = {{first_goes_on ? first_fd : -1, POLLIN, 0},
                       {other_fd, POLLIN, 0}};
    // With a timeout, because the test's request comes through memory.
    poll(polled, 2, 10);
    if (polled[0].revents != 0) {
      const absl::StatusOr<bool> goes_on = first.Step();
      if (!goes_on.ok()) return goes_on.status();
      first_goes_on = *goes_on;
    }
    if (*other == nullptr) continue;
    if (second.asked_to_stop.exchange(false)) (*other)->RequestDrain();
    if (polled[1].revents == 0) continue;
    const absl::StatusOr<bool> goes_on = (*other)->Step();
    if (!goes_on.ok()) return goes_on.status();
    if (*goes_on) continue;
    second.totals = (*other)->totals();
    other->reset();
    other_fd = -1;
    second.gone = true;
  }
  return absl::OkStatus();
}

TEST_P(NeighboursTest, StopsBothServersOfAProgramByOneSignal) {
  Shared<Second> second;
  TestServer::Setup setup = SilentSetup();
  setup.run = [&](TcpServer& server) {
    return RunBoth(server, SilentOptions(), *second);
  };
  const auto server = StartServer(std::move(setup));
  TestClient here = ConnectTo(*server);
  auto there = TestClient::Connect(second->endpoint());
  ASSERT_THAT(there, IsOk());
  EXPECT_THAT(here.Echo("a"), IsOk());
  EXPECT_THAT(there->Echo("b"), IsOk());
  server->Signal(SIGTERM);
  // While the servers drain, their clients are served to the end.
  EXPECT_THAT(there->Echo("c"), IsOk());
  EXPECT_THAT(here.Echo("d"), IsOk());
  here.Close();
  there->Close();
  const TestServer::Report report = server->AwaitExit();
  ExpectClean(report);
  EXPECT_EQ(report.totals.ended_ok, 1u);
  EXPECT_TRUE(second->gone);
  EXPECT_EQ(second->totals.ended_ok, 1u);
}

TEST_P(NeighboursTest, LeavesNoListenerOfOneServerInChildrenOfTheOther) {
  Shared<Second> second;
  TestServer::Setup setup = SilentSetup();
  setup.run = [&](TcpServer& server) {
    return RunBoth(server, SilentOptions(), *second);
  };
  const auto server = StartServer(std::move(setup));
  const net::Endpoint endpoint = second->endpoint();
  // These children are created while both servers listen.
  std::vector<TestClient> here;
  for (int i = 0; i < 6; ++i) {
    here.push_back(ConnectTo(*server));
    ASSERT_THAT(here.back().Echo("a"), IsOk());
  }
  ASSERT_THAT(TestClient::Connect(endpoint)->Echo("b"), IsOk());
  second->asked_to_stop = true;
  ASSERT_TRUE(Await([&] { return second->gone.load(); }));
  // A child that is just being created may hold the listener a moment longer.
  EXPECT_TRUE(Await([&] {
    return absl::IsUnavailable(TestClient::Connect(endpoint).status());
  }));
  for (TestClient& client : here) EXPECT_THAT(client.Echo("c"), IsOk());
  // The first server still gets SIGTERM, which was meant for both.
  here.clear();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 6u);
}

// Ends in another way than by returning, as the client asks.
ExitCode EndAs(net::Connection& connection) {
  char how;
  if (recv(connection.fd(), &how, 1, 0) != 1) return ExitCode::kPeerLost;
  switch (how) {
    case 'e':
      std::exit(7);
    case 'q':
      std::quick_exit(8);
    case '_':
      _exit(9);
    case 'a':
      std::abort();
    case 't':
      throw std::runtime_error("thrown by a handler");
    default:
      return ExitCode::kProtocolError;
  }
}

struct Ends {
  std::atomic<int> codes[200] = {};
  std::atomic<int> at_exit{0};
};
Ends* ends = nullptr;

TEST_P(NeighboursTest, RunsNoExitHandlerOfTheProgramHoweverAHandlerEnds) {
  Shared<Ends> shared;
  ends = &*shared;
  TestServer::Setup setup = SilentSetup();
  setup.before = [] { EXPECT_EQ(std::atexit([] { ++ends->at_exit; }), 0); };
  setup.options.on_connection_end = [](const server::ConnectionReport& report) {
    ++ends->codes[report.status.exited() ? report.status.code()
                                         : 100 + report.status.signal()];
  };
  setup.handler = EndAs;
  const auto server = StartServer(std::move(setup));
  for (int round = 0; round < 3; ++round) {
    for (const char* how : {"e", "q", "_", "a", "t", "?"}) {
      TestClient client = ConnectTo(*server);
      ASSERT_THAT(client.Send(how), IsOk());
      EXPECT_THAT(client.ExpectEof(), IsOk());
    }
  }
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.ended_error, 15u);
  EXPECT_EQ(totals.crashed, 3u);
  for (int code : {7, 8, 9, 100 + SIGABRT, 1, 4}) {
    EXPECT_EQ(ends->codes[code], 3) << code;
  }
  EXPECT_EQ(ends->at_exit, 0);
}

// A handler with state that the program made before it began to serve.
class Dictionary {
 public:
  explicit Dictionary(int words) {
    for (int i = 0; i < words; ++i) words_[i] = absl::StrCat("word ", i);
  }
  ExitCode operator()(net::Connection& connection) {
    ++asked_;
    return Reply(connection, words_.at(asked_ + 400));
  }

 private:
  std::map<int, std::string> words_;
  int asked_ = 0;
};

TEST_P(NeighboursTest, CallsTheHandlerWithItsOriginalState) {
  TestServer::Setup setup = SilentSetup();
  setup.handler = Dictionary(500);
  const auto server = StartServer(std::move(setup));
  std::set<std::string> replies;
  for (int i = 0; i < 8; ++i) {
    const absl::StatusOr<std::string> reply = ConnectTo(*server).ReadUntilEof();
    ASSERT_THAT(reply, IsOk());
    replies.insert(*reply);
  }
  // A change of the state affects the process of the handler alone: the next
  // connection of a worker sees it, no other connection does.
  EXPECT_EQ(replies.count("word 401"), 1u);
  if (row().one_each) {
    EXPECT_EQ(replies.size(), 1u);
  }
  StopAndExpectClean(*server);
}

}  // namespace
}  // namespace brood::testing
