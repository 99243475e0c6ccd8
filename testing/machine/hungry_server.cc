// SPDX-License-Identifier: Apache-2.0

// A server whose children use all memory when their clients ask for it: for
// testing/machine/memory.sh, which limits the memory.
//
//   hungry_server STRATEGY
//
// The byte "m" of a client makes its child use memory until it is killed; "f"
// makes it fill a file in memory, which does not count as memory of the child;
// any other byte is echoed.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"

namespace {

using brood::server::ExitCode;

constexpr size_t kBite = size_t{1} << 20;

// Fills a file in memory, which ends with the process that has it open.
[[noreturn]] void FillFile() {
  const int file = memfd_create("hungry", MFD_CLOEXEC);
  const std::vector<char> bite(kBite, 1);
  while (write(file, bite.data(), bite.size()) > 0) {
  }
  std::abort();
}

ExitCode EatOrEcho(brood::net::Connection& connection) {
  char byte;
  while (brood::net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1))
             .ok()) {
    if (byte == 'f') FillFile();
    while (byte == 'm') {
      void* bite = std::malloc(kBite);
      if (bite != nullptr) std::memset(bite, 1, kBite);
    }
    if (!brood::net::WriteFull(connection.socket(), absl::string_view(&byte, 1))
             .ok()) {
      return ExitCode::kPeerLost;
    }
  }
  return ExitCode::kServed;
}

}  // namespace

int main(int argc, char** argv) {
  brood::server::Options options;
  options.listen = {"127.0.0.1:0"};
  options.pool.workers = 4;
  // By default the strategy fork does without.
  options.hardening.oom_score_with_fork = true;
  if (argc > 1) {
    const auto strategy = brood::server::ParseStrategyKind(argv[1]);
    if (!strategy.ok()) {
      std::cerr << strategy.status() << std::endl;
      return 100;
    }
    options.strategy = *strategy;
  }
  auto server = brood::server::TcpServer::Create(options, EatOrEcho);
  if (!server.ok()) {
    std::cerr << server.status() << std::endl;
    return 111;
  }
  return (*server)->Run().ok() ? 0 : 111;
}
