// SPDX-License-Identifier: Apache-2.0

#ifndef THREADED_DESK_HANDLER_H_
#define THREADED_DESK_HANDLER_H_

#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "threaded/log.h"

namespace embedder {

// DeskHandler sends each client two facts about the process that serves it.
//
//   said 1, resident 3 MiB
//
// These are the number of lines in the log of that process, including the
// client's own, and the memory of the process. It sends first and reads
// nothing. It uses the log and allocates memory, so it works only in a process
// that was not forked from a process with busy threads. The caller owns the
// log, which must outlive the handler.
//
// Exit codes: kServed; kPeerLost for a connection that was lost.
//
// Example:
//   auto server = TcpServer::Create(options, DeskHandler(&log));
class DeskHandler {
 public:
  // Logs to `log`.
  explicit DeskHandler(Log* log) : log_(log) {}

  // Serves one connection. Runs in the child.
  brood::server::ExitCode operator()(brood::net::Connection& connection);

 private:
  Log* log_;
};

}  // namespace embedder

#endif  // THREADED_DESK_HANDLER_H_
