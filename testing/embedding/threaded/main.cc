// SPDX-License-Identifier: Apache-2.0

// threaded: a server in a program that has threads and a large heap.
//
// The order matters. First the server is created, while the program is small
// and has one thread: its strategy starts the zygote, from which children are
// forked. Then the heap and the threads are created, which the zygote does not
// have. Then clients are served.
//
// Exit codes: 0 after a requested stop; 111 if the system refused a resource.

#include <cstddef>
#include <iostream>

#include "absl/status/status.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "gflags/gflags.h"
#include "net/listener.h"
#include "server/for_brood.h"
#include "server/options.h"
#include "threaded/desk_handler.h"
#include "threaded/log.h"
#include "threaded/workshop.h"

DEFINE_int32(threads, 8, "how many threads are busy");
DEFINE_int32(heap_mib, 1024, "how much memory they have");

namespace embedder {
namespace {

using brood::server::ExitCode;
using brood::server::TcpServer;

int Fail(const absl::Status& status) {
  std::cerr << "threaded: " << status.message() << std::endl;
  return static_cast<int>(ExitCode::kSystemRefused);
}

int Main() {
  Log log;
  brood::server::Options options = ForBrood(OptionsFromFlags());
  options.strategy = brood::server::StrategyKind::kZygote;
  auto server = TcpServer::Create(options, DeskHandler(&log));
  if (!server.ok()) return Fail(server.status());

  const Workshop workshop(FLAGS_threads,
                          static_cast<size_t>(FLAGS_heap_mib) << 20, &log);
  PrintingListener listener(std::cout);
  listener.Serving((*server)->endpoints());
  const absl::Status stopped = (*server)->Run();
  if (!stopped.ok()) return Fail(stopped);
  listener.Stopped((*server)->totals());
  return 0;
}

}  // namespace
}  // namespace embedder

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  return embedder::Main();
}
