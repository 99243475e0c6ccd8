// SPDX-License-Identifier: Apache-2.0

// A soak: after a million connections the server process has the same
// descriptors and the same memory as after a hundred thousand, no client has
// failed, and the totals are balanced. testing/endurance/soak.sh runs it.
//
//   SOAK_CONNECTIONS=50000  the number of connections, instead of a million
//   SOAK_STRATEGY=pool      the strategy, instead of fork

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/server/options.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

constexpr int kStages = 20;
constexpr size_t kWarmStages = kStages / 10;  // the first tenth
constexpr int64_t kGrowthKib = 64;
constexpr int kClients = 4;
constexpr int kTimeoutSeconds = 10;

// Returns the address of the client `number`. A closed connection keeps its
// port for a minute, and an address has some 28 thousand ports, so clients use
// many addresses of 127.0.0.0/8.
net::Endpoint Source(int64_t number) {
  return net::Endpoint::Parse(absl::StrCat("127.1.", number / 250 % 250, ".",
                                           1 + number % 250, ":0"))
      .value();
}

absl::StatusOr<TestClient> ConnectFrom(const net::Endpoint& source,
                                       const net::Endpoint& server) {
  net::Socket socket =
      net::Socket::Adopt(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return absl::ErrnoToStatus(errno, "socket");
  const timeval timeout = {kTimeoutSeconds, 0};
  setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  // The kernel chooses the port in connect(), when it knows the server: then it
  // can use a port that an old connection to another address still has.
  const int on = 1;
  setsockopt(socket.fd(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  if (bind(socket.fd(), source.address(), source.address_length()) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("bind ", source.ToString()));
  }
  if (TEMP_FAILURE_RETRY(connect(socket.fd(), server.address(),
                                 server.address_length())) < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("connect from ", source.ToString()));
  }
  return TestClient::Adopt(std::move(socket));
}

absl::Status BeServed(int64_t number, const net::Endpoint& server) {
  absl::StatusOr<TestClient> client = ConnectFrom(Source(number), server);
  if (!client.ok()) return client.status();
  // The calls happen in this order, which a braced list guarantees.
  for (const absl::Status& step :
       {client->Echo("hello"), client->ShutdownWrite(), client->ExpectEof()}) {
    if (!step.ok()) return step;
  }
  return absl::OkStatus();
}

// Numbered clients, of which kClients are served at a time.
class Crowd {
 public:
  explicit Crowd(const net::Endpoint& server) : server_(server) {}

  // Serves the clients below `end`, and returns when each was served or failed.
  void Serve(int64_t end) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kClients; ++i) {
      threads.emplace_back([this, end] {
        for (int64_t number; (number = next_++) < end;) {
          const absl::Status served = BeServed(number, server_);
          if (served.ok()) continue;
          const std::lock_guard<std::mutex> lock(mutex_);
          ++failed_;
          first_failure_.Update(served);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    next_ = end;
  }

  int64_t failed() const { return failed_; }
  const absl::Status& first_failure() const { return first_failure_; }

 private:
  const net::Endpoint server_;
  std::atomic<int64_t> next_{0};
  std::mutex mutex_;
  int64_t failed_ = 0;
  absl::Status first_failure_;
};

// Returns the number of KiB after `field` in a file of /proc.
int64_t Kib(pid_t pid, absl::string_view file, absl::string_view field) {
  const std::string text = ReadProcFile(absl::StrCat("/proc/", pid, "/", file));
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    int64_t kib = 0;
    if (absl::ConsumePrefix(&line, field) &&
        absl::SimpleAtoi(absl::StripSuffix(line, " kB"), &kib)) {
      return kib;
    }
  }
  throw std::runtime_error(absl::StrCat("no ", field, " in ", text));
}

struct Sample {
  // Counted page by page: the kernel's running count (VmRSS) differs by some
  // dozens of pages for each processor.
  int64_t resident_kib;
  size_t descriptors;
};

// Returns an environment variable, or `usual` if it is not set.
const char* FromEnvironment(const char* variable, const char* usual) {
  const char* const text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? usual : text;
}

class SoakTest : public LeakCheck {
 protected:
  static const StrategyRow& Row() {
    for (const StrategyRow& row : Strategies()) {
      if (row.name() == FromEnvironment("SOAK_STRATEGY", "fork")) return row;
    }
    throw std::runtime_error("SOAK_STRATEGY is no strategy");
  }

  // Takes a sample when no client is served and every ended child is reaped.
  static Sample TakeAtRest(pid_t pid) {
    server::Options options;
    options.strategy = Row().strategy;
    const size_t at_rest = Row().waiting(options, /*busy=*/0);
    EXPECT_TRUE(
        Await([&] { return ChildrenOf(absl::StrCat(pid)).size() == at_rest; }));
    AwaitIdle(pid);
    return {Kib(pid, "smaps_rollup", "Rss:"),
            DescriptorsOf(absl::StrCat(pid)).size()};
  }
};

TEST_F(SoakTest, KeepsDescriptorsAndMemory) {
  const int64_t connections =
      std::atoll(FromEnvironment("SOAK_CONNECTIONS", "1000000"));
  ASSERT_GE(connections, kStages);
  auto server = ServerProgram::Start({ServerProgram::Path(),
                                      absl::StrCat("--strategy=", Row().name()),
                                      "--log_level=warning"});
  ASSERT_THAT(server, IsOk());
  const pid_t pid = (*server)->pid();

  Crowd crowd((*server)->endpoint());
  std::vector<Sample> samples;
  std::printf("%s\n%11s %8s %7s %12s %10s %11s\n", Row().name().c_str(),
              "connections", "failed", "per s", "resident KiB", "VmRSS KiB",
              "descriptors");
  for (int stage = 1; stage <= kStages; ++stage) {
    const net::Instant start = net::Now();
    const int64_t before = connections * (stage - 1) / kStages;
    const int64_t end = connections * stage / kStages;
    crowd.Serve(end);
    const absl::Duration length = absl::FromChrono(net::Now() - start);
    samples.push_back(TakeAtRest(pid));
    std::printf(
        "%11lld %8lld %7.0f %12lld %10lld %11zu\n", static_cast<long long>(end),
        static_cast<long long>(crowd.failed()),
        static_cast<double>(end - before) / absl::ToDoubleSeconds(length),
        static_cast<long long>(samples.back().resident_kib),
        static_cast<long long>(Kib(pid, "status", "VmRSS:")),
        samples.back().descriptors);
    std::fflush(stdout);
  }

  EXPECT_EQ(crowd.failed(), 0) << crowd.first_failure();
  const Sample& warm = samples[kWarmStages - 1];
  for (size_t i = kWarmStages; i < samples.size(); ++i) {
    EXPECT_EQ(samples[i].descriptors, warm.descriptors) << "stage " << i + 1;
    EXPECT_LE(samples[i].resident_kib, warm.resident_kib + kGrowthKib)
        << "stage " << i + 1;
  }
  EXPECT_THAT((*server)->Stop(), IsOk());
  EXPECT_EQ((*server)->log().All(), "") << "warnings";
}

}  // namespace
}  // namespace brood::testing
