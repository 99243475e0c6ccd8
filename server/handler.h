// Handler: the one thing an embedder writes, and what it can say at the end.
//
// A handler runs in the child, a process of its own that was forked for this
// one connection: plain blocking code, free to crash, leak, exit or loop. It
// sees a copy of everything that the parent had made before the fork, and
// nothing of what other children do. When it returns, the connection is closed
// in order and the process ends with the exit code that the handler gave.
//
// The exit code is the child's testimony: the parent counts and logs it.
// Errors: a handler that throws has said kHandlerFailed; one that calls exit()
// or crashes has ended as the kernel says, and that is recorded.
//
// The connection is lent for the call. A class with a call operator will do as
// well as a lambda; it is copied before the first fork, with its state.
//
// Example:
//   Handler greet = [](net::Connection& connection) {
//     return net::WriteFull(connection.socket(), "hello\n").ok()
//                ? ExitCode::kServed
//                : ExitCode::kPeerLost;
//   };

#ifndef BROOD_SERVER_HANDLER_H_
#define BROOD_SERVER_HANDLER_H_

#include <functional>

#include "absl/strings/string_view.h"
#include "brood/net/connection.h"

namespace brood::server {

// Of a child; and, from kUsage on, of a program too (the tradition of djb's
// tools). A handler may use any other number up to 99 for meanings of its own.
enum class ExitCode : int {
  kServed = 0,
  kHandlerFailed = 1,
  kPeerLost = 2,          // reset, or gone in the middle
  kDeadlineExceeded = 3,  // the peer was too slow
  kProtocolError = 4,     // the peer broke the rules
  kUsage = 100,           // you called me wrong
  kBug = 101,             // my own fault
  kSystemRefused = 111,   // the system said no
};

// A word or two for the log: "peer lost"; empty for numbers without a meaning.
absl::string_view Meaning(ExitCode code);

using Handler = std::function<ExitCode(net::Connection& connection)>;

}  // namespace brood::server

#endif  // BROOD_SERVER_HANDLER_H_
