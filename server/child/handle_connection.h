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

// LingerSettings is how a child ends a connection that it has handled.
struct LingerSettings {
  // Limits how many bytes the child takes from the client at a time.
  size_t max_size = 1024;
  // Limits how long the child discards what the client still sends. Zero closes
  // the connection at once.
  absl::Duration linger = absl::Seconds(2);
};

// Calls `handler`, and ends the connection so that the last bytes of the reply
// arrive: closes this side first, and discards what the client still sends
// until the client closes its side. Runs in the child.
//
// Returns the code of the handler, whatever it is. If the handler throws, calls
// `on_exception` with the message of the exception, and returns kSystemRefused
// for a SystemRefused and kHandlerFailed for every other exception. Reports the
// times and the exception, too; see server/report. A client that is gone, or
// that never closes its side, does not change the code.
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
