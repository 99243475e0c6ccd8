// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_CONNECTION_H_
#define BROOD_NET_CONNECTION_H_

#include <cstdint>
#include <utility>

#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/peer_address.h"
#include "brood/net/unique_fd.h"

namespace brood::net {

// Connection: an accepted connection, from accept to the exit of the child.
//
// The socket, the addresses of both ends, and the time of accept. The parent
// creates it and reads nothing from it; the child that serves it does all the
// reading and writing (see io.h).
//
// A resource: it is moved, never copied. The last process that holds the socket
// ends the connection by closing it. Not thread-safe. No errors.
//
// Example:
//   absl::Status TellClientItsAddress(const Connection& connection) {
//     return WriteFull(connection.socket(), connection.peer().ToString());
//   }
class Connection {
 public:
  // Takes ownership of `socket`.
  Connection(UniqueFd socket, const PeerAddress& peer,
             const PeerAddress& local_address, Instant accepted_at)
      : socket_(std::move(socket)),
        peer_(peer),
        local_address_(local_address),
        accepted_at_(accepted_at) {}

  // Lends the socket, which blocks and is close-on-exec.
  const UniqueFd& socket() const { return socket_; }
  // Closes the socket in this process.
  void Close() { socket_.Close(); }
  // Lends the descriptor of the socket.
  int fd() const { return socket_.fd(); }

  // Returns the address of the client as accept4 returned it, which is known
  // even if the client has gone since.
  const PeerAddress& peer() const { return peer_; }
  // Returns the address of this machine that the client connected to.
  const PeerAddress& local_address() const { return local_address_; }
  // Returns the endpoint that the client connected to. For a unix socket this
  // asks the kernel for the path of the listener; if the socket is closed, the
  // endpoint has no name.
  Endpoint local() const;
  // Returns the time of accept.
  Instant accepted_at() const { return accepted_at_; }
  // Returns how many connections of the address of the client were running when
  // the server accepted this one, itself included. All clients of unix sockets
  // count as one address. 1 without a server.
  uint32_t connections_of_host() const { return connections_of_host_; }
  // Sets it. For the server.
  void set_connections_of_host(uint32_t count) { connections_of_host_ = count; }

 private:
  UniqueFd socket_;
  PeerAddress peer_;
  PeerAddress local_address_;
  Instant accepted_at_;
  uint32_t connections_of_host_ = 1;
};

}  // namespace brood::net

#endif  // BROOD_NET_CONNECTION_H_
