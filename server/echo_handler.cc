// SPDX-License-Identifier: Apache-2.0

#include "brood/server/echo_handler.h"

#include "absl/container/fixed_array.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "brood/net/io.h"

namespace brood::server {
namespace {

// The largest buffer that is on the stack: the child has its own copy of that
// page already, and would have to copy a page of the heap first.
constexpr size_t kOnStack = 1024;

ExitCode Echo(net::Connection& connection, size_t max_size) {
  absl::FixedArray<char, kOnStack> buffer(max_size);
  for (;;) {
    const absl::StatusOr<size_t> got =
        net::ReadSome(connection.socket(), absl::MakeSpan(buffer));
    if (!got.ok()) return ExitCode::kPeerLost;
    if (*got == 0) return ExitCode::kServed;
    const absl::string_view bytes(buffer.data(), *got);
    if (!net::WriteFull(connection.socket(), bytes).ok()) {
      return ExitCode::kPeerLost;
    }
  }
}

}  // namespace

Handler EchoHandler(size_t max_size) {
  return [max_size](net::Connection& connection) {
    return Echo(connection, max_size);
  };
}

}  // namespace brood::server
