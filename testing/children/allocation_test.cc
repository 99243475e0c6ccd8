// The parent allocates nothing for a connection, at any log level: what it
// needs it has before the first one, so memory that runs out later can't hurt
// it.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#if !defined(ABSL_HAVE_ADDRESS_SANITIZER) && \
    !defined(ABSL_HAVE_THREAD_SANITIZER)

namespace {
uint64_t allocations = 0;
uint64_t failing = 0;  // which of them fails; 0 for none

bool Fails() { return ++allocations == failing; }
}  // namespace

// In the place of the C library's, which C++'s operator new calls too.
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier)
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
// NOLINTEND(bugprone-reserved-identifier)

void* malloc(size_t size) {
  if (Fails()) return nullptr;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  if (Fails()) return nullptr;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  if (Fails()) return nullptr;
  return __libc_realloc(memory, size);
}
}

namespace brood::testing {
namespace {

constexpr uint64_t kWarmUp = 20;
constexpr uint64_t kCounted = 500;

// Turns the server until `ended` connections have come and gone.
void ServeUntil(server::TcpServer& server, uint64_t ended) {
  while (server.totals().ended_ok < ended) {
    ASSERT_THAT(server.Step(absl::InfiniteDuration()), IsOk());
  }
}

class AllocationTest : public StrategyTest {
 protected:
  void CountWithLogLevel(server::LogLevel level);
};

void AllocationTest::CountWithLogLevel(server::LogLevel level) {
  TestServer::Setup setup;
  setup.options.log.level = level;
  setup.run = [](server::TcpServer& server) {
    ServeUntil(server, kWarmUp);
    const uint64_t before = allocations;
    ServeUntil(server, kWarmUp + kCounted);
    const uint64_t made = allocations - before;
    EXPECT_EQ(made, 0u) << "for " << kCounted << " connections";
    return server.Run();
  };
  auto server = StartServer(std::move(setup));
  for (uint64_t i = 0; i < kWarmUp + kCounted; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Echo("hello"), IsOk());
  }
  StopAndExpectClean(*server);
}

TEST_P(AllocationTest, ParentAllocatesNothingForAConnection) {
  CountWithLogLevel(server::LogLevel::kWarning);
}

TEST_P(AllocationTest, ParentAllocatesNothingForAConnectionThatItLogs) {
  CountWithLogLevel(server::LogLevel::kInfo);
}

// It throws, or says why not, and takes back what it had begun: descriptors,
// processes, signals. What it does not need so much it may do without.
TEST_P(AllocationTest, WhicheverAllocationFailsCreateLeavesNothingBehind) {
  server::Options options;
  options.listen = {"127.0.0.1:0", "127.0.0.1:0"};
  options.strategy = row().strategy;
  options.log.level = server::LogLevel::kOff;
  options.max_connections = 10;
  const server::Handler handler = server::EchoHandler(512);
  uint64_t failed = 0;
  for (uint64_t nth = 1;; ++nth) {
    const Census before = Census::Take();
    bool created = false;
    allocations = 0;
    failing = nth;
    try {
      created = server::TcpServer::Create(options, handler).ok();
    } catch (const std::bad_alloc&) {
    }
    failing = 0;
    const bool reached = allocations >= nth;
    EXPECT_THAT(Census::Difference(before, Census::Take()),
                ::testing::IsEmpty())
        << "allocation " << nth;
    if (!reached) {
      EXPECT_TRUE(created);
      break;
    }
    if (!created) ++failed;
  }
  RecordProperty("failed", static_cast<int>(failed));
  EXPECT_GT(failed, 10u);
}

TEST(AllocationCounterTest, SeesAnAllocationOfTheParent) {
  const uint64_t before = allocations;
  auto one = std::make_unique<int>(1);
  EXPECT_GT(allocations, before) << *one;
}

INSTANTIATE_TEST_SUITE_P(With, AllocationTest, EachStrategy(), StrategyName());

}  // namespace
}  // namespace brood::testing

#endif
