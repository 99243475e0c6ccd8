// SPDX-License-Identifier: Apache-2.0
//
// The stack canary of a server cannot be found out byte by byte. If all
// children had the same canary, a wrong guess would end one child, and the next
// child would allow the next guess. The test makes this attack, against a
// handler that copies too much.

#include <sys/resource.h>
#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/config.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/quiet_setup.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

constexpr size_t kMostBytes = 200;

// Copies more than there is room for. Returns a byte, so that the copy is not
// left out.
__attribute__((noinline)) int CopyTooMuch(absl::string_view bytes) {
  char buffer[16] = "";
  volatile char* const copy = buffer;
  for (size_t i = 0; i < bytes.size(); ++i) copy[i] = bytes[i];
  return copy[0];
}

server::ExitCode HandleWithOverflow(net::Connection& connection) {
  char request[kMostBytes];
  const ssize_t size = recv(connection.fd(), request, sizeof(request), 0);
  if (size <= 0) return server::ExitCode::kPeerLost;
  CopyTooMuch({request, static_cast<size_t>(size)});
  return Reply(connection, "survived");
}

class CanaryTest : public StrategyTest {
 protected:
  void SetUp() override {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
    GTEST_SKIP() << "a sanitizer ends the child at the first byte";
#elif !defined(__x86_64__)
    GTEST_SKIP() << "the canary of this machine cannot be renewed";
#endif
  }

  std::unique_ptr<TestServer> StartVulnerable(bool own_canaries) {
    TestServer::Setup setup = QuietSetup(server::LogLevel::kError);
    setup.options.hardening.stack_canary = own_canaries;
    setup.options.spares.min = 2;
    setup.options.pool.workers = 2;
    setup.before = [] {
      const rlimit none = {};
      setrlimit(RLIMIT_CORE, &none);
    };
    setup.handler = HandleWithOverflow;
    return StartServer(std::move(setup));
  }

  // Returns whether the handler returned from the copy of `bytes`.
  bool Survives(const TestServer& server, absl::string_view bytes) {
    TestClient client = ConnectTo(server);
    EXPECT_THAT(client.Send(bytes), IsOk());
    const absl::StatusOr<std::string> reply = client.ReadUntilEof();
    return reply.ok() && *reply == "survived";
  }

  // Returns the second byte of the canary, if it can be found out. The first
  // one is always zero. With canaries that have nothing in common, one of the
  // 256 guesses survives kConfirmations times more with a probability of 256
  // to the power of -kConfirmations, which is below 1e-12.
  absl::optional<char> FindOutSecondByte(const TestServer& server) {
    constexpr int kConfirmations = 5;
    std::string request;
    while (request.size() < kMostBytes - 2 &&
           Survives(server, absl::StrCat(request, "A"))) {
      request += 'A';
    }
    EXPECT_LT(request.size(), kMostBytes - 2) << "there is no canary";
    request += '\0';
    EXPECT_TRUE(Survives(server, request)) << "its first byte is not zero";
    request += '\0';
    for (int guess = 0; guess < 256; ++guess) {
      request.back() = static_cast<char>(guess);
      int survived = 0;
      while (survived <= kConfirmations && Survives(server, request)) {
        ++survived;
      }
      if (survived > kConfirmations) return request.back();
    }
    return absl::nullopt;
  }
};

INSTANTIATE_TEST_SUITE_P(With, CanaryTest, EachStrategy(), StrategyName());

TEST_P(CanaryTest, CannotBeFoundOutByteByByte) {
  const auto server = StartVulnerable(/*own_canaries=*/true);
  EXPECT_EQ(FindOutSecondByte(*server), absl::nullopt);
  StopAndExpectClean(*server);
}

// Shows that the attack of the test before works.
TEST_P(CanaryTest, CanBeFoundOutIfAllChildrenHaveTheSame) {
  const auto server = StartVulnerable(/*own_canaries=*/false);
  EXPECT_NE(FindOutSecondByte(*server), absl::nullopt);
  StopAndExpectClean(*server);
}

}  // namespace
}  // namespace brood::testing
