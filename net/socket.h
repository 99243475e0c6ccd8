// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_SOCKET_H_
#define BROOD_NET_SOCKET_H_

#include "brood/net/unique_fd.h"

namespace brood::net {

// Socket: the name of a UniqueFd whose descriptor is a socket.
//
// Ownership, errors and thread-safety are those of UniqueFd. A function that
// takes a Socket expects a socket; any other kind of descriptor is a UniqueFd.
//
// Example:
//   Socket socket = Socket::Adopt(
//       accept4(listening_fd, nullptr, nullptr, SOCK_CLOEXEC));
//   if (!socket.valid()) return absl::ErrnoToStatus(errno, "accept4");
//   shutdown(socket.fd(), SHUT_WR);        // lends it
//   int fd = std::move(socket).Release();  // gives it up
using Socket = UniqueFd;

}  // namespace brood::net

#endif  // BROOD_NET_SOCKET_H_
