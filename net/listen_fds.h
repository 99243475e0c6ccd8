// SPDX-License-Identifier: Apache-2.0

// InheritedSockets: what the service manager opened for this program.
//
// The rules of sd_listen_fds(3). LISTEN_FDS says how many descriptors there
// are, from 3 on; LISTEN_FDNAMES, if it is there, what each is called; and
// LISTEN_PID for which process: if that is another one, or none, there is
// nothing for us. The variables are removed in any case, since no child of ours
// is meant; and each descriptor is made close-on-exec, as no child of a child
// is meant either.
//
// For the beginning of a program, before it opens anything else: which
// descriptors are meant is known by their numbers alone. Changes the
// environment, so there must be no threads.
//
// Errors: InvalidArgument, naming the variable and its value, for what no
// service manager says. Descriptors that it may have meant are then closed.
//
// Example:
//   absl::StatusOr<std::vector<InheritedSocket>> sockets =
//       TakeInheritedSockets();
//   if (!sockets.ok()) return sockets.status();
//   for (InheritedSocket& inherited : *sockets) {
//     auto listener = Listener::Adopt(std::move(inherited.socket));
//   }

#ifndef BROOD_NET_LISTEN_FDS_H_
#define BROOD_NET_LISTEN_FDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/socket.h"

namespace brood::net {

struct InheritedSocket {
  Socket socket;
  std::string name;  // of LISTEN_FDNAMES; empty if that was not given
};

// Returns them in the order of their numbers. Does not check that they are
// sockets. If the variables are well-formed and have nothing for this process,
// `ignored` is set to the reason: they are for another process, only some of
// them are set, or LISTEN_FDS is 0. Without variables it stays as it is.
absl::StatusOr<std::vector<InheritedSocket>> TakeInheritedSockets(
    std::string* ignored = nullptr);

}  // namespace brood::net

#endif  // BROOD_NET_LISTEN_FDS_H_
