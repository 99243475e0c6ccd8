// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/handle_connection.h"

#include "absl/status/status.h"
#include "brood/net/io.h"

namespace brood::server {
namespace {

ExitCode CallHandler(net::Connection& connection, const Handler& handler) {
  try {
    return handler(connection);
  } catch (...) {
    return ExitCode::kHandlerFailed;
  }
}

}  // namespace

// After every code: a handler that refused a request may have replied, and a
// client that still sends would lose the reply to a reset.
ExitCode HandleConnection(net::Connection& connection, const Handler& handler,
                          const LingerSettings& settings) {
  const ExitCode code = CallHandler(connection, handler);
  if (settings.linger > absl::ZeroDuration()) {
    net::Linger(connection.socket(), settings.max_size, settings.linger)
        .IgnoreError();
  }
  return code;
}

}  // namespace brood::server
