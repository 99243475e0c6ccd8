#include "brood/server/child/handle_connection.h"

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/io.h"

namespace brood::server {

ExitCode HandleConnection(net::Connection& connection, size_t max_size,
                          const Handler& handler) {
  ExitCode code;
  try {
    code = handler(connection);
  } catch (...) {
    return ExitCode::kHandlerFailed;
  }
  if (code == ExitCode::kServed) {
    // A client that is gone by now, or that never closes, has been served all
    // the same.
    net::Linger(connection.socket(), max_size, absl::Seconds(kLingerSeconds))
        .IgnoreError();
  }
  return code;
}

}  // namespace brood::server
