// What a service manager says to a program that it starts, for Options.
//
// systemd (a .socket unit) and others bind and listen before the program
// starts, and tell by LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES which
// descriptors it gets: see net/inherited_sockets.h for the rules. This takes
// them into Options::inherited; the entry "inherited" of Options::listen then
// stands for all of them. NOTIFY_SOCKET says where it wants to hear that the
// server is ready, and that it stops. The variables are removed, so that no
// child takes them for its own.
//
// For the beginning of main(), before the program opens anything or starts a
// thread. It is never done unasked: in a program that embeds a server the
// descriptors may be for somebody else.
//
// Errors: InvalidArgument, naming the variable and its value, if that is
// nothing that a service manager says.
//
// Example:
//   Options options;
//   absl::StatusOr<int> inherited = InheritListeners(&options);
//   if (!inherited.ok()) return inherited.status();
//   if (*inherited > 0) options.listen = {"inherited"};
//   TakeNotifySocket(&options);

#ifndef BROOD_SERVER_SOCKET_ACTIVATION_H_
#define BROOD_SERVER_SOCKET_ACTIVATION_H_

#include "absl/status/statusor.h"
#include "brood/server/options.h"

namespace brood::server {

// How many there were.
absl::StatusOr<int> InheritListeners(Options* options);

// Into Options::notify_socket. Whether it is good is seen by Create().
void TakeNotifySocket(Options* options);

}  // namespace brood::server

#endif  // BROOD_SERVER_SOCKET_ACTIVATION_H_
