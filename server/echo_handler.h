// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_ECHO_HANDLER_H_
#define BROOD_SERVER_ECHO_HANDLER_H_

#include <cstddef>

#include "brood/server/handler.h"

namespace brood::server {

// Returns a handler that sends every byte back, until the client closes its
// side.
//
// It is the handler of the standalone server, and the sample to begin yours
// from. Called in the parent; the returned handler, a value, runs in the child
// and reads `max_size` bytes at a time.
//
// The handler returns kServed when the client ended the stream, and kPeerLost
// when the connection was lost.
//
// Example:
//   auto server = TcpServer::Create(options, EchoHandler(1024));
Handler EchoHandler(size_t max_size);

}  // namespace brood::server

#endif  // BROOD_SERVER_ECHO_HANDLER_H_
