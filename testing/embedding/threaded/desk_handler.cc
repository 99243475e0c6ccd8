// SPDX-License-Identifier: Apache-2.0

#include "threaded/desk_handler.h"

#include <unistd.h>

#include <cstddef>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "brood/net/io.h"

namespace embedder {
namespace {

using brood::server::ExitCode;

// The memory of this process, shared with other processes or not.
size_t ResidentMiB() {
  size_t mapped = 0;
  size_t resident = 0;  // in pages, both
  std::ifstream("/proc/self/statm") >> mapped >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE)) >> 20;
}

}  // namespace

ExitCode DeskHandler::operator()(brood::net::Connection& connection) {
  log_->Say(absl::StrCat("serving ", connection.peer().ToString()));
  const bool told =
      brood::net::WriteFull(connection.socket(),
                            absl::StrCat("said ", log_->said(), ", resident ",
                                         ResidentMiB(), " MiB\n"))
          .ok();
  return told ? ExitCode::kServed : ExitCode::kPeerLost;
}

}  // namespace embedder
