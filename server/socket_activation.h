// SPDX-License-Identifier: Apache-2.0

// What a service manager passes to a program that it starts.
//
// systemd (a .socket unit) and others bind and listen before the program
// starts, and describe the descriptors in LISTEN_PID, LISTEN_FDS and
// LISTEN_FDNAMES; net/listen_fds.h has the rules. NOTIFY_SOCKET names the
// socket on which the manager is notified when the server is ready and when it
// stops. Both functions remove the variables that they read, so that no child
// uses them.
//
// Call them at the beginning of main(), before the program opens a descriptor
// or starts a thread. Create() never does it: in a program that embeds a server
// the descriptors may be for another part.
//
// Example:
//   Options options;
//   auto inherited = InheritListeners(options.log);
//   if (!inherited.ok()) return inherited.status();
//   if (!inherited->empty()) options.listen = {"inherited"};
//   TakeNotifySocket(&options);
//   ... other options ...
//   auto server = TcpServer::Create(options, handler, *std::move(inherited));

#ifndef BROOD_SERVER_SOCKET_ACTIVATION_H_
#define BROOD_SERVER_SOCKET_ACTIVATION_H_

#include <vector>

#include "absl/status/statusor.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/options.h"

namespace brood::server {

// Returns the listeners that the service manager passes to this program, for
// TcpServer::Create(); none if there is no such manager. The entry "inherited"
// of Options::listen stands for all of them. Returns InvalidArgument, naming
// the variable and its value, if the variables are malformed.
//
// Variables that have nothing for this process are logged as a warning, to
// `log`: they are for another process, as below a shell that does not exec the
// program, only some of them are set, or LISTEN_FDS is 0.
absl::StatusOr<std::vector<InheritedListener>> InheritListeners(
    const Options::Log& log = Options::Log());

// Moves the value of NOTIFY_SOCKET to Options::notify_socket.
// TcpServer::Create() checks it.
void TakeNotifySocket(Options* options);

}  // namespace brood::server

#endif  // BROOD_SERVER_SOCKET_ACTIVATION_H_
