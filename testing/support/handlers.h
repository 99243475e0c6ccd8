// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_HANDLERS_H_
#define BROOD_TESTING_SUPPORT_HANDLERS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"

// Handlers, which run in the child, for several tests of whole servers.
//
// Example:
//   setup.handler = ReplyWithPid;
namespace brood::testing {

// Sends `text` and ends. Returns kPeerLost if the client is gone.
server::ExitCode Reply(net::Connection& connection, absl::string_view text);

// Sends the pid of the process that serves the connection, and ends.
server::ExitCode ReplyWithPid(net::Connection& connection);

// Returns the pid of this process in ten digits, as AnswerWithPid() sends it.
std::string PidText();

// Sends back every 8 bytes that it reads, and after them PidText(), until the
// client ends.
server::ExitCode AnswerWithPid(net::Connection& connection);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_HANDLERS_H_
