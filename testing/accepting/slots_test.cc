// SPDX-License-Identifier: Apache-2.0

// A slot is freed by the end of its process, however that process ends, and by
// nothing else: after any mixture of ends as many clients are served as before.

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/totals.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

class SlotsTest : public StrategyTest {};

// Ways in which a child can end; the first byte of the client chooses one.
enum Ending : char {
  kServes,
  kFails,
  kInventsACode,
  kCrashes,
  kKillsItself,
  kAborts,
  kClosesEarly,
  kNeverReads,
  kCallsExit,
  kThrows,
  kStopsAndIsKilled,
  kExecs,
  kEndings
};

ExitCode EndAs(Ending ending, net::Connection& connection) {
  switch (ending) {
    case kServes:
    case kNeverReads:
      return ExitCode::kServed;
    case kFails:
      return ExitCode::kHandlerFailed;
    case kInventsACode:
      return static_cast<ExitCode>(7);
    case kCrashes:
      raise(SIGSEGV);
      break;
    case kKillsItself:
      raise(SIGKILL);
      break;
    case kAborts:
      raise(SIGABRT);
      break;
    case kClosesEarly:
      close(connection.fd());
      return ExitCode::kServed;
    case kCallsExit:
      std::exit(3);
    case kThrows:
      throw std::runtime_error("thrown by a handler");
    case kStopsAndIsKilled:
      net::WriteFull(connection.socket(), absl::StrFormat("%010d", getpid()))
          .IgnoreError();
      raise(SIGSTOP);
      break;
    case kExecs:
      execlp("true", "true", nullptr);
      break;
    case kEndings:
      break;
  }
  return ExitCode::kBug;
}

// Replies, and serves until the client closes its connection.
ExitCode StayAndAnswer(net::Connection& connection) {
  net::WriteFull(connection.socket(), "here").IgnoreError();
  char byte;
  while (net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok()) {
  }
  return ExitCode::kServed;
}

TEST_P(SlotsTest, FreesTheSlotHoweverTheChildEnds) {
  constexpr int kConnections = 2048 / kCostOfFork;
  constexpr int kCap = 32;
  TestServer::Setup setup;
  setup.options.max_connections = kCap;
  setup.options.pool.workers = kCap;
  setup.options.log.level = server::LogLevel::kError;
  setup.handler = [](net::Connection& connection) {
    // Does not take the byte, for a child that never reads.
    char choice;
    if (recv(connection.fd(), &choice, 1, MSG_PEEK) != 1) {
      return ExitCode::kPeerLost;
    }
    if (choice == kEndings) return StayAndAnswer(connection);
    if (choice != kNeverReads) recv(connection.fd(), &choice, 1, 0);
    return EndAs(static_cast<Ending>(choice), connection);
  };
  const auto server = StartServer(std::move(setup));

  std::mt19937 random(1);  // the same numbers in each run
  std::array<uint64_t, kEndings> ended = {};
  for (int done = 0; done < kConnections; done += 2 * kCap) {
    // Twice as many as the cap, so that slots are taken again at once.
    std::vector<TestClient> clients = ConnectMany(*server, 2 * kCap);
    for (TestClient& client : clients) {
      const auto ending = static_cast<Ending>(random() % kEndings);
      ++ended[ending];
      ASSERT_THAT(client.Send(std::string(1, ending)), IsOk());
      if (ending != kStopsAndIsKilled) continue;
      const absl::StatusOr<std::string> text = client.ReadExactly(10);
      pid_t pid;
      ASSERT_TRUE(text.ok() && absl::SimpleAtoi(*text, &pid)) << text.status();
      kill(pid, SIGKILL);  // it can't have ended otherwise
    }
  }
  // Every slot is free: as many as the cap are served at once.
  std::vector<TestClient> clients = ConnectMany(*server, kCap);
  for (TestClient& client : clients) {
    ASSERT_THAT(client.Send(std::string(1, kEndings)), IsOk());
  }
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ExpectReply("here"), IsOk());
  }
  clients.clear();

  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.accepted, static_cast<uint64_t>(kConnections + kCap));
  EXPECT_EQ(totals.ended_ok, ended[kServes] + ended[kClosesEarly] +
                                 ended[kNeverReads] + ended[kExecs] + kCap);
  EXPECT_EQ(totals.ended_error, ended[kFails] + ended[kInventsACode] +
                                    ended[kCallsExit] + ended[kThrows]);
  EXPECT_EQ(totals.crashed_by[SIGSEGV], ended[kCrashes]);
  EXPECT_EQ(totals.crashed_by[SIGABRT], ended[kAborts]);
  EXPECT_EQ(totals.crashed_by[SIGKILL],
            ended[kKillsItself] + ended[kStopsAndIsKilled]);
  EXPECT_EQ(totals.unknown, 0u);
}

INSTANTIATE_TEST_SUITE_P(With, SlotsTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing
