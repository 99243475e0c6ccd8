// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_HANDLER_H_
#define BROOD_SERVER_HANDLER_H_

#include <functional>

#include "absl/strings/string_view.h"
#include "brood/net/connection.h"

namespace brood::server {

// ExitCode is how a handler ended. It becomes the exit code of its process.
//
// A handler may return any other number from 5 to 99, with a meaning of its
// own. A number that is not 0 to 255 is recorded as kBug. The codes from kUsage
// on are also those of programs, with the numbers of djb's tools.
enum class ExitCode : int {
  // The client got what it asked for.
  kServed = 0,
  // The handler failed, or threw an exception.
  kHandlerFailed = 1,
  // The connection was reset, or ended in the middle.
  kPeerLost = 2,
  // The peer was too slow.
  kDeadlineExceeded = 3,
  // The peer broke the rules of the protocol.
  kProtocolError = 4,
  // The command line of a program is wrong.
  kUsage = 100,
  // The code is wrong.
  kBug = 101,
  // The system refused what the process needs.
  kSystemRefused = 111,
};

// Returns a few words for the log, such as "peer lost"; an empty text for a
// number without a meaning.
absl::string_view Meaning(ExitCode code);

// Handler is the function of the embedder that serves a connection.
//
// It runs in the child, a process that was forked for this one connection:
// plain blocking code, which may crash, leak, exit or loop. It sees a copy of
// everything that the parent had before the fork, and nothing of what other
// children do. (With the strategy "pool" a process serves more than one
// connection, one after the other.)
//
// The child has a stack canary of its own, and not that of the parent. So a
// handler must not return into functions that the parent has entered, for
// example by resuming a coroutine of the parent, unless
// Options::hardening.stack_canary is off.
//
// The connection is lent for the call. A class with a call operator is a
// handler as well as a lambda; it is copied before the first fork, with its
// state.
//
// Whatever the handler returns, the child then ends the connection so that the
// reply arrives: it closes its own side, and discards what the client still
// sends until the client closes its side, for at most Options::linger (2 s).
// The process ends with the exit code that the handler returned, which the
// parent counts and logs.
//
// Errors: a handler that throws ends with kHandlerFailed. If a handler calls
// exit() or crashes, the kernel reports how its process ended, and its
// connection is closed at once.
//
// Example:
//   Handler greet = [](net::Connection& connection) {
//     return net::WriteFull(connection.socket(), "hello\n").ok()
//                ? ExitCode::kServed
//                : ExitCode::kPeerLost;
//   };
using Handler = std::function<ExitCode(net::Connection& connection)>;

// Sets a text for the report and the log of `connection`, for example what an
// access log needs about a request. Replaces the text that was set before.
//
// The first 256 bytes of `text` count, whatever they are; the log escapes them.
// They arrive even if the process is killed afterwards. Has no effect if
// Options::handler_reports is off, and outside a handler. Called in the child.
//
// Example:
//   Annotate(connection, absl::StrCat("GET ", path, " 200"));
void Annotate(const net::Connection& connection, absl::string_view text);

}  // namespace brood::server

#endif  // BROOD_SERVER_HANDLER_H_
