// SPDX-License-Identifier: Apache-2.0

// EchoHandler: gives every byte back, until the client ends its side.
//
// The handler of the standalone server, and the sample to start yours from.
// EchoHandler() is called in the parent; what it gives, a value, runs in the
// child and reads `max_size` bytes at a time.
//
// Errors are exit codes: kServed when the client ended the stream, kPeerLost
// when it vanished.
//
// Example:
//   auto server = TcpServer::Create(options, EchoHandler(1024));

#ifndef BROOD_SERVER_ECHO_HANDLER_H_
#define BROOD_SERVER_ECHO_HANDLER_H_

#include <cstddef>

#include "brood/server/handler.h"

namespace brood::server {

Handler EchoHandler(size_t max_size);

}  // namespace brood::server

#endif  // BROOD_SERVER_ECHO_HANDLER_H_
