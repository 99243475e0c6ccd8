// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_LISTEN_FDS_H_
#define BROOD_NET_LISTEN_FDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/socket.h"

namespace brood::net {

// InheritedSocket is a descriptor that the service manager opened for this
// program. A resource: it is moved, never copied.
struct InheritedSocket {
  // Owns the descriptor, which is close-on-exec.
  Socket socket;
  // The name of the descriptor in LISTEN_FDNAMES; empty if that is not set.
  std::string name;
};

// Returns the descriptors that the service manager passed to this process, in
// the order of their numbers, by the rules of sd_listen_fds(3): LISTEN_FDS is
// their number, from descriptor 3 on; LISTEN_FDNAMES has their names; and
// LISTEN_PID is the process that they are for. Does not check that they are
// sockets. Removes the variables in any case, because they are not for the
// children of this process.
//
// If the variables are well-formed and have nothing for this process, `ignored`
// is set to the reason: they are for another process, only some of them are
// set, or LISTEN_FDS is 0. Without the variables `ignored` stays as it is.
//
// Must be called at the beginning of a program, before it opens a descriptor,
// because descriptors are identified by their numbers alone; and before it has
// threads, because the environment changes.
//
// Errors: InvalidArgument, naming the variable and its value, if a value is
// malformed. The descriptors that the variables may stand for are then closed.
//
// Example:
//   absl::StatusOr<std::vector<InheritedSocket>> sockets =
//       TakeInheritedSockets();
//   if (!sockets.ok()) return sockets.status();
//   for (InheritedSocket& inherited : *sockets) {
//     auto listener = Listener::Adopt(std::move(inherited.socket));
//   }
absl::StatusOr<std::vector<InheritedSocket>> TakeInheritedSockets(
    std::string* ignored = nullptr);

}  // namespace brood::net

#endif  // BROOD_NET_LISTEN_FDS_H_
