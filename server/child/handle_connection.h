// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_CHILD_HANDLE_CONNECTION_H_
#define BROOD_SERVER_CHILD_HANDLE_CONNECTION_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"

namespace brood::server {

// LingerSettings says how a child ends a connection that it has handled.
struct LingerSettings {
  // Limits how many bytes the child takes from the client at a time.
  size_t max_size = 1024;
  // Limits how long the child discards what the client still sends. Zero closes
  // the connection at once.
  absl::Duration linger = absl::Seconds(2);
};

// Calls `handler`, and ends the connection so that the last bytes of the reply
// arrive: this side is closed first, and what the client still sends is
// discarded until the client closes its side. Runs in the child.
//
// Returns the code of the handler, whatever it is. If the handler throws, calls
// `on_exception` with what the exception says and returns kHandlerFailed, or
// kSystemRefused for one that says so (see system_refused.h). The
// times and the exception are reported, too; see server/report. A client that
// is gone, or that never closes, changes nothing about the code.
//
// Example:
//   spawner.Spawn([&] {
//     return static_cast<int>(HandleConnection(
//         connection, handler, {}, [](absl::string_view what) { ... }));
//   });
ExitCode HandleConnection(
    net::Connection& connection, const Handler& handler,
    const LingerSettings& settings,
    absl::FunctionRef<void(absl::string_view)> on_exception);

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_HANDLE_CONNECTION_H_
