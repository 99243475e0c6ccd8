// SPDX-License-Identifier: Apache-2.0
//
// What a child learns from its memory, and which process a lack of memory ends:
// rows A6 and A11.

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"
#include "brood/server/options.h"
#include "brood/testing/attacks/attack_fixture.h"
#include "brood/testing/attacks/taken_over_child.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class MemoryAttacksTest : public AttackTest {};

INSTANTIATE_TEST_SUITE_P(With, MemoryAttacksTest,
                         ::testing::ValuesIn(AttackedStrategies()),
                         StrategyName());

int ScoreOf(pid_t pid) {
  int score = -1;
  EXPECT_TRUE(absl::SimpleAtoi(
      ReadProcFile(absl::StrCat("/proc/", pid, "/oom_score_adj")), &score));
  return score;
}

// The kernel ends the process with the highest score. A child that fills files
// in memory or buffers of sockets has no more memory of its own than the
// server, so its score must be raised. If children are created after accept,
// that takes too long, so it is an option.
TEST_P(MemoryAttacksTest, AreEndedBeforeTheServerIs) {
  if (row().made_after_accept && row().forks_itself) {
    GTEST_SKIP() << "an option, which is off";
  }
  const auto server = StartVictim("A6 oom_score_adj");
  std::vector<TakenOverChild> children = TakeOverMany(*server, 3);
  for (TakenOverChild& child : children) {
    EXPECT_GT(ScoreOf(child.pid()), ScoreOf(server->pid()));
  }
  ExpectHarmless(*server);
}

// Returns the address of the client `number`. It is computed, because a
// constant would be in the memory of the program.
uint32_t AddressOf(uint32_t number) {
  const uint32_t last = 100 + number;
  return (127u << 24) | ((last + 1) << 16) | ((last + 2) << 8) | last;
}

std::string TextOf(uint32_t address) {
  return absl::StrCat("127.", (address >> 16) & 255, ".", (address >> 8) & 255,
                      ".", address & 255);
}

// Returns `address` as it is in a socket address.
std::string BytesOf(uint32_t address) {
  const uint32_t bytes = htonl(address);
  return {reinterpret_cast<const char*>(&bytes), sizeof(bytes)};
}

// Connects a client from an address that is in no process of the server yet.
TestClient ConnectFrom(const TestServer& server, uint32_t address) {
  sockaddr_in from = {};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(address);
  net::Socket socket =
      net::Socket::Adopt(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(bind(socket.fd(), reinterpret_cast<sockaddr*>(&from), sizeof(from)),
            0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(server.endpoint().port());
  EXPECT_EQ(connect(socket.fd(), reinterpret_cast<sockaddr*>(&to), sizeof(to)),
            0);
  return TestClient::Adopt(std::move(socket));
}

// Returns how often `bytes` occurs in `memory`.
int CountOf(const std::string& memory, const std::string& bytes) {
  int count = 0;
  for (size_t at = memory.find(bytes); at != std::string::npos;
       at = memory.find(bytes, at + 1)) {
    ++count;
  }
  return count;
}

// The parent reads and logs the address of each client.
TEST_P(MemoryAttacksTest, DoNotFindTheAddressOfTheClientBefore) {
  if (kCostOfFork > 1) GTEST_SKIP() << "a sanitizer keeps what was freed";
  TestServer::Setup setup = AttackSetup();
  setup.options.log.level = server::LogLevel::kInfo;
  setup.options.pool.workers = 2;
  setup.options.spares.min = 2;
  const auto server = StartVictim("A11 the client before", std::move(setup));
  constexpr uint32_t kTries = 10;
  uint32_t found_bytes = 0, found_text = 0, found_own = 0;
  for (uint32_t i = 0; i < kTries; ++i) {
    TestClient before = ConnectFrom(*server, AddressOf(i));
    EXPECT_GT(Serve(before), 0);
    TakenOverChild child = TakeOver(ConnectFrom(*server, AddressOf(50 + i)));
    const std::string memory = child.Memory();
    if (CountOf(memory, BytesOf(AddressOf(i))) > 0) ++found_bytes;
    if (CountOf(memory, TextOf(AddressOf(i))) > 0) ++found_text;
    if (CountOf(memory, BytesOf(AddressOf(50 + i))) > 0) ++found_own;
    child.Exit(0);
  }
  EXPECT_EQ(found_bytes, 0u);
  EXPECT_EQ(found_text, 0u);
  // The search works: it finds the address of the own client.
  EXPECT_EQ(found_own, kTries);
  std::cout << "A11 " << row().name() << ": address as bytes in " << found_bytes
            << " of " << kTries << ", as text in " << found_text << "\n";
  ExpectHarmless(*server);
}

}  // namespace
}  // namespace brood::testing
