// SPDX-License-Identifier: Apache-2.0

// Children share some memory and some queues with the parent. Whatever a child
// writes there harms no other connection.

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/connection_report.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/totals.h"
#include "brood/testing/internal/proc_files.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;

class HostileChildrenTest : public StrategyTest {};

// Returns the shared mappings that this process can write: begin and end.
std::map<uintptr_t, uintptr_t> SharedMemory() {
  std::map<uintptr_t, uintptr_t> shared;
  const std::string maps = ReadProcFile("/proc/self/maps");
  for (const std::string& line :
       static_cast<std::vector<std::string>>(absl::StrSplit(maps, '\n'))) {
    unsigned long begin, end;
    char access[8];
    if (std::sscanf(line.c_str(), "%lx-%lx %7s", &begin, &end, access) == 3 &&
        access[1] == 'w' && access[3] == 's') {
      shared[begin] = end;
    }
  }
  return shared;
}

// A hundred children overwrite all of it with random bytes, a hundred times
// each, and each dies in the middle of the last time.
TEST_P(HostileChildrenTest, ServesOthersThoughChildrenOverwriteSharedMemory) {
  constexpr int kChildren = 100;
  constexpr int kImages = 100;
  std::map<uintptr_t, uintptr_t> not_the_servers;
  TestServer::Setup setup;
  // At this level children log, and count lines that they cannot write.
  setup.options.log.level = server::LogLevel::kInfo;
  setup.options.pool.workers = 4;
  // Each child has a page for its report, which it overwrites as well.
  setup.options.handler_reports = true;
  setup.options.on_connection_end = [](const server::ConnectionReport& end) {
    EXPECT_GE(end.handler_time, absl::ZeroDuration());
    EXPECT_GE(end.linger_time, absl::ZeroDuration());
    EXPECT_LE(end.handler_time + end.linger_time, end.duration);
    EXPECT_LE(end.exception.size(), 256u);
    EXPECT_LE(end.annotation.size(), 256u);
  };
  setup.before = [&] { not_the_servers = SharedMemory(); };
  setup.handler = [&](net::Connection& connection) {
    char kind;
    while (net::ReadFull(connection.socket(), absl::MakeSpan(&kind, 1)).ok()) {
      if (!net::WriteFull(connection.socket(), "+").ok()) break;
      if (kind != 's') continue;
      std::map<uintptr_t, uintptr_t> memory = SharedMemory();
      for (const auto& [begin, end] : not_the_servers) memory.erase(begin);
      EXPECT_FALSE(memory.empty());
      std::minstd_rand random(static_cast<unsigned>(getpid()));
      for (int image = 1; image <= kImages; ++image) {
        for (const auto& [begin, end] : memory) {
          for (uintptr_t at = begin; at < end; at += sizeof(uint32_t)) {
            *reinterpret_cast<volatile uint32_t*>(at) =
                static_cast<uint32_t>(random());
            if (image == kImages && random() % 100 == 0) raise(SIGKILL);
          }
        }
      }
      raise(SIGKILL);
    }
    return ExitCode::kServed;
  };
  const auto server = StartServer(std::move(setup));
  TestClient sibling = ConnectTo(*server);
  for (int i = 0; i < kChildren; ++i) {
    TestClient client = ConnectTo(*server);
    EXPECT_THAT(client.Send("s"), IsOk());
    EXPECT_THAT(client.ExpectReply("+"), IsOk());
    EXPECT_THAT(client.ExpectEof(), IsOk());
    EXPECT_THAT(sibling.Send("e"), IsOk());
    EXPECT_THAT(sibling.ExpectReply("+"), IsOk());
  }
  sibling.Close();
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.ended_ok, 1u);
  EXPECT_EQ(totals.crashed_by[SIGKILL], static_cast<uint64_t>(kChildren));
}

INSTANTIATE_TEST_SUITE_P(With, HostileChildrenTest, EachStrategy(),
                         StrategyName());

}  // namespace
}  // namespace brood::testing
