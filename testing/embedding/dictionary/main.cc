// SPDX-License-Identifier: Apache-2.0

// dictionary: a server that returns the meanings of words. The protocol is in
// dictionary_handler.h.
//
// Exit codes: 0 after a requested stop; 100 if the file of words is missing or
// wrong; 111 if the system refused a resource.

#include <iostream>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/server/handler.h"
#include "brood/server/tcp_server.h"
#include "dictionary/dictionary_handler.h"
#include "dictionary/table.h"
#include "gflags/gflags.h"
#include "net/listener.h"
#include "server/for_brood.h"
#include "server/options.h"

DEFINE_string(words, "", "the file of words; a word, a tab and its meaning");

namespace embedder {
namespace {

using brood::server::ExitCode;
using brood::server::TcpServer;

int Fail(const absl::Status& status, ExitCode code) {
  std::cerr << "dictionary: " << status.message() << std::endl;
  return static_cast<int>(code);
}

int Main() {
  absl::StatusOr<Table> table = Table::Load(FLAGS_words);
  if (!table.ok()) return Fail(table.status(), ExitCode::kUsage);
  auto server = TcpServer::Create(
      ForBrood(OptionsFromFlags()),
      DictionaryHandler(std::make_shared<const Table>(*std::move(table))));
  if (!server.ok()) return Fail(server.status(), ExitCode::kSystemRefused);

  PrintingListener listener(std::cout);
  listener.Serving((*server)->endpoints());
  const absl::Status stopped = (*server)->Run();
  if (!stopped.ok()) return Fail(stopped, ExitCode::kSystemRefused);
  listener.Stopped((*server)->totals());
  return 0;
}

}  // namespace
}  // namespace embedder

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  return embedder::Main();
}
