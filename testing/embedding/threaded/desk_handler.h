// DeskHandler: tells each client about the process that serves it.
//
//   said 1, resident 3 MiB
//
// That is: how many lines the log of that process has by now, the client's own
// among them, and how much memory the process has. Speaks first, and reads
// nothing. The log is used and memory allocated, so this ends only in a process
// that was not forked from busy threads. The log is the caller's, and must live
// as long as the handler.
//
// Exit codes: kServed; kPeerLost for a client that vanished.
//
// Example:
//   auto server = TcpServer::Create(options, DeskHandler(&log));

#ifndef THREADED_DESK_HANDLER_H_
#define THREADED_DESK_HANDLER_H_

#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "threaded/log.h"

namespace embedder {

class DeskHandler {
 public:
  explicit DeskHandler(Log* log) : log_(log) {}

  brood::server::ExitCode operator()(brood::net::Connection& connection);

 private:
  Log* log_;
};

}  // namespace embedder

#endif  // THREADED_DESK_HANDLER_H_
