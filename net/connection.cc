// SPDX-License-Identifier: Apache-2.0

#include "brood/net/connection.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "absl/status/statusor.h"

namespace brood::net {

Endpoint Connection::local() const {
  const Endpoint known = Endpoint::FromAddress(local_address_);
  if (!known.is_unix()) return known;
  union {
    sockaddr any;
    sockaddr_un unix_socket;
  } address = {};
  socklen_t length = sizeof(address);
  if (getsockname(fd(), &address.any, &length) < 0) return known;
  return Endpoint::FromUnix(address.unix_socket, length).value_or(known);
}

}  // namespace brood::net
