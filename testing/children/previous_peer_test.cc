// SPDX-License-Identifier: Apache-2.0
//
// The memory of a child does not contain the address of the client before its
// own. A handler searches all of its writable memory.

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/config.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "brood/net/connection.h"
#include "brood/net/socket.h"
#include "brood/server/connection_report.h"
#include "brood/server/handler.h"
#include "brood/server/log_level.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/quiet_setup.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

// Clients have the addresses 127.83.19.1 and so on. No two tests use the same
// address: what one test has read of a log is in the memory of the next server
// as well. The pattern of the search is not itself in memory: each byte is
// stored with some bits inverted.
constexpr unsigned char kInverted = 0xa5;
constexpr unsigned char kBinary[] = {127 ^ kInverted, 83 ^ kInverted,
                                     19 ^ kInverted};
constexpr unsigned char kText[] = {
    '1' ^ kInverted, '2' ^ kInverted, '7' ^ kInverted, '.' ^ kInverted,
    '8' ^ kInverted, '3' ^ kInverted, '.' ^ kInverted, '1' ^ kInverted,
    '9' ^ kInverted, '.' ^ kInverted};
constexpr int kClients = 6;

template <size_t size>
bool IsAt(const volatile unsigned char* memory,
          const unsigned char (&inverted)[size]) {
  for (size_t i = 0; i < size; ++i) {
    if ((memory[i] ^ kInverted) != inverted[i]) return false;
  }
  return true;
}

// Returns the last byte of the address at `memory`; 0 if there is none.
int HostAt(const volatile unsigned char* memory, size_t left) {
  if (left > sizeof(kBinary) && IsAt(memory, kBinary)) {
    return memory[sizeof(kBinary)];
  }
  if (left < sizeof(kText) + 3 || !IsAt(memory, kText)) return 0;
  int host = 0;
  for (size_t i = 0; i < 3; ++i) {
    const int digit = memory[sizeof(kText) + i] - '0';
    if (digit < 0 || digit > 9) break;
    host = 10 * host + digit;
  }
  return host;
}

// Returns where the address of a client from `first` on is found, except `own`.
std::string FindOthers(int first, int own) {
  std::string found;
  for (const absl::string_view line :
       absl::StrSplit(ReadProcFile("/proc/self/maps"), '\n')) {
    uintptr_t begin, end;
    char allowed[5], name[64] = "";
    if (std::sscanf(std::string(line).c_str(), "%lx-%lx %4s %*s %*s %*s %63s",
                    &begin, &end, allowed, name) < 3 ||
        allowed[0] != 'r' || allowed[1] != 'w') {
      continue;
    }
    for (uintptr_t at = begin; at < end; ++at) {
      const int host =
          HostAt(reinterpret_cast<const unsigned char*>(at), end - at);
      if (host < first || host >= first + kClients || host == own) continue;
      absl::StrAppend(&found, " ", host, " at ", absl::Hex(at), " in [",
                      absl::Hex(begin), "-", absl::Hex(end), "] ", name);
    }
  }
  return found;
}

class PreviousPeerTest : public StrategyTest {
 protected:
  void SetUp() override {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
    GTEST_SKIP() << "a sanitizer keeps copies of frames";
#endif
  }

  static TestClient ConnectFrom(int host, const TestServer& server) {
    net::Socket socket =
        net::Socket::Adopt(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in own = {};
    own.sin_family = AF_INET;
    own.sin_addr.s_addr =
        htonl(127u << 24 | 83 << 16 | 19 << 8 | static_cast<uint32_t>(host));
    EXPECT_EQ(
        bind(socket.fd(), reinterpret_cast<const sockaddr*>(&own), sizeof(own)),
        0);
    EXPECT_EQ(connect(socket.fd(), server.endpoint().address(),
                      server.endpoint().address_length()),
              0);
    return TestClient::Adopt(std::move(socket));
  }

  void ExpectNoOthers(TestServer::Setup setup) {
    setup.options.spares.min = 2;
    // The addresses of earlier clients of a worker stay in its memory; see
    // docs/threat_model.md.
    setup.options.pool.workers = 4;
    setup.options.pool.max_connections = 1;
    static int next_host = 1;
    const int first = next_host;
    next_host += kClients;
    setup.handler = [first](net::Connection& connection) {
      const int own = connection.peer().host()[3];
      return Reply(connection, absl::StrCat("others:", FindOthers(first, own)));
    };
    const auto server = StartServer(std::move(setup));
    for (int i = 0; i < kClients; ++i) {
      const absl::StatusOr<std::string> others =
          ConnectFrom(first + i, *server).ReadUntilEof();
      EXPECT_THAT(others, IsOkAndHolds("others:")) << *others;
    }
    StopAndExpectClean(*server);
  }
};

INSTANTIATE_TEST_SUITE_P(With, PreviousPeerTest, EachStrategy(),
                         StrategyName());

TEST_P(PreviousPeerTest, IsNotInTheMemoryOfAChild) {
  ExpectNoOthers(QuietSetup(server::LogLevel::kOff));
}

TEST_P(PreviousPeerTest, IsNotInTheMemoryOfAChildWhenItIsLogged) {
  ExpectNoOthers(QuietSetup(server::LogLevel::kInfo));
}

TEST_P(PreviousPeerTest, IsNotInTheMemoryOfAChildWhenItIsReported) {
  TestServer::Setup setup = QuietSetup(server::LogLevel::kOff);
  setup.options.on_connection_end = [](const server::ConnectionReport&) {};
  ExpectNoOthers(std::move(setup));
}

}  // namespace
}  // namespace brood::testing
