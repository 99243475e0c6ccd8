// SPDX-License-Identifier: Apache-2.0
//
// The parent allocates nothing for a connection, at any log level. It allocates
// what it needs before the first connection, so that a lack of memory later
// does no harm.

#include <grp.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/connection_report.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#if !defined(ABSL_HAVE_ADDRESS_SANITIZER) && \
    !defined(ABSL_HAVE_THREAD_SANITIZER)

namespace {
uint64_t allocations = 0;
uint64_t failing = 0;  // the number of the allocation that fails; 0: none

// The process in which every allocation fails; 0: none.
pid_t all_fail_in = 0;

bool Fails() {
  if (all_fail_in != 0 && all_fail_in == getpid()) return true;
  return ++allocations == failing;
}
}  // namespace

// Replace those of the C library, which operator new calls too.
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

// Calls Step() until `ended` connections have ended.
void ServeUntil(server::TcpServer& server, uint64_t ended) {
  while (server.totals().ended_ok < ended) {
    ASSERT_THAT(server.Step(absl::InfiniteDuration()), IsOk());
  }
}

class AllocationTest : public StrategyTest {
 protected:
  // The supervisor looks at its groups in each turn of Step(). Without the
  // right to set them, the test has those of its user.
  AllocationTest() {
    const gid_t groups[] = {1, 2, 3};
    if (setgroups(3, groups) < 0) return;
  }

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

// When memory is used up, neither the server nor a connection ends: to create
// children ahead, replace workers and report ends the server needs no memory.
// An upgrade does, and is put off.
TEST_P(AllocationTest, ParentGoesOnWhenEveryAllocationFails) {
  TestServer::Setup setup;
  setup.options.max_connections = 8;
  setup.options.spares.min = 2;
  setup.options.spares.max = 4;
  setup.options.pool.workers = 2;
  setup.options.pool.max_connections = 5;
  setup.options.upgrade.command = {"/bin/true"};
  setup.options.handler_reports = true;
  uint64_t reports = 0;
  setup.options.on_connection_end = [&](const server::ConnectionReport&) {
    ++reports;
  };
  // Every fifth client makes its process crash.
  setup.handler = [](net::Connection& connection) {
    char byte = 0;
    if (!net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1)).ok()) {
      return server::ExitCode::kPeerLost;
    }
    // For this text the parent needs memory, and goes on without.
    server::Annotate(connection,
                     "an annotation that fits into no small string");
    if (byte == 'c') raise(SIGKILL);
    return Reply(connection, "a text that fits into no small string at all");
  };
  setup.run = [&](server::TcpServer& server) {
    ServeUntil(server, kWarmUp);
    all_fail_in = getpid();
    ServeUntil(server, 2 * kWarmUp);
    server.RequestUpgrade();
    ServeUntil(server, 3 * kWarmUp);
    all_fail_in = 0;
    EXPECT_EQ(server.upgrades_failed(), 0u) << "the upgrade must not begin";
    const absl::Status ran = server.Run();
    EXPECT_EQ(reports, server.totals().accepted);
    return ran;
  };
  auto server = StartServer(std::move(setup));
  for (uint64_t i = 0; i < 4 * kWarmUp; ++i) {
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Send(i % 5 == 0 ? "c" : "q"), IsOk());
    EXPECT_THAT(client.ReadUntilEof(), IsOk());
  }
  EXPECT_THAT(server->AwaitEvent("call-failed"), IsOk());
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.accepted, 4 * kWarmUp);
  EXPECT_EQ(report.totals.ended_ok, 4 * kWarmUp * 4 / 5);
}

// Calls Step() until `count` connections are running.
void AcceptUntil(server::TcpServer& server, uint64_t count) {
  while (server.totals().running < count) {
    ASSERT_THAT(server.Step(absl::InfiniteDuration()), IsOk());
  }
}

// The table of children has room for all of them from the start.
TEST_P(AllocationTest, ParentNeedsNoMemoryForAsManyChildrenAsItMayHave) {
  constexpr int kMany = 100;
  TestServer::Setup setup;
  setup.options.max_connections = kMany;
  setup.options.spares.min = 2;
  setup.options.spares.max = 4;
  setup.options.pool.workers = kMany;
  setup.run = [&](server::TcpServer& server) {
    ServeUntil(server, 1);
    all_fail_in = getpid();
    AcceptUntil(server, kMany);
    ServeUntil(server, 1 + kMany);
    all_fail_in = 0;
    return server.Run();
  };
  auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).Echo("hello"), IsOk());
  std::vector<TestClient> clients = ConnectMany(*server, kMany);
  for (TestClient& client : clients) {
    EXPECT_THAT(client.Echo("hello"), IsOk());
  }
  clients.clear();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, 1u + kMany);
  EXPECT_THAT(EventsOf(report.log, "call-failed"), ::testing::IsEmpty());
}

// Create() throws or returns an error, and undoes what it had begun:
// descriptors, processes, signals. It may succeed without memory that is not
// essential.
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
