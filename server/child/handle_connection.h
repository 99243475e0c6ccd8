// HandleConnection: a child's life with its one connection.
//
// Runs in the child. Calls the handler, then ends the connection so that the
// last bytes of the reply arrive: our side is closed first, and what the client
// still sends is thrown away until it closes too (for kLingerSeconds at most).
// A handler that did not say kServed gets no such courtesy. An exception is an
// ending like others: it is kHandlerFailed.
//
// `max_size` is how many bytes the child takes from the client at a time.
//
// Example:
//   spawner.Spawn([&] {
//     return static_cast<int>(HandleConnection(connection, 1024, handler));
//   });

#ifndef BROOD_SERVER_CHILD_HANDLE_CONNECTION_H_
#define BROOD_SERVER_CHILD_HANDLE_CONNECTION_H_

#include <cstddef>

#include "brood/net/connection.h"
#include "brood/server/handler.h"

namespace brood::server {

inline constexpr int kLingerSeconds = 2;

ExitCode HandleConnection(net::Connection& connection, size_t max_size,
                          const Handler& handler);

}  // namespace brood::server

#endif  // BROOD_SERVER_CHILD_HANDLE_CONNECTION_H_
