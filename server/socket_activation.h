// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SOCKET_ACTIVATION_H_
#define BROOD_SERVER_SOCKET_ACTIVATION_H_

#include <vector>

#include "absl/status/statusor.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/options.h"

namespace brood::server {

// Returns the listeners that a service manager passes to this program, for
// TcpServer::Create(); none if there is no such manager. The entry "inherited"
// of Options::listen stands for all of them.
//
// systemd (a .socket unit) and others bind and listen before the program
// starts, and describe the descriptors in LISTEN_PID, LISTEN_FDS and
// LISTEN_FDNAMES; net/listen_fds.h has the rules. Variables that have no
// listener for this process are logged to `log` as a warning: they are for
// another process (a shell started the program without exec), only some of them
// are set, or LISTEN_FDS is 0.
//
// Call this and TakeNotifySocket() at the beginning of main(), before the
// program opens a descriptor or starts a thread. Create() never does it: in a
// program that embeds a server the descriptors may be for another part. Both
// functions remove the variables that they read, so that no child uses them.
//
// Returns InvalidArgument, naming the variable and its value, if the variables
// are malformed.
//
// Example:
//   Options options;
//   auto inherited = InheritListeners(options.log);
//   if (!inherited.ok()) return inherited.status();
//   if (!inherited->empty()) options.listen = {"inherited"};
//   TakeNotifySocket(&options);
//   ... other options ...
//   auto server = TcpServer::Create(options, handler, *std::move(inherited));
absl::StatusOr<std::vector<InheritedListener>> InheritListeners(
    const Options::Log& log = Options::Log());

// Moves the value of NOTIFY_SOCKET to Options::notify_socket: the socket on
// which the service manager is notified when the server is ready and when it
// stops. TcpServer::Create() checks it.
void TakeNotifySocket(Options* options);

}  // namespace brood::server

#endif  // BROOD_SERVER_SOCKET_ACTIVATION_H_
