// Connection: what travels down the line, from accept to the child's exit.
//
// The accepted socket, who is at its far end, which of our addresses the client
// chose, and when it was accepted. The parent makes it and reads nothing from
// it; the child that it is given to does all the reading and writing.
//
// A resource: moved, never copied. The last process that holds it ends the
// connection by closing it. Not thread-safe. Nothing here can fail; reading and
// writing is in io.h.
//
// Example:
//   absl::Status TellClientWhoItIs(const Connection& connection) {
//     return WriteFull(connection.socket(), connection.peer().ToString());
//   }

#ifndef BROOD_NET_CONNECTION_H_
#define BROOD_NET_CONNECTION_H_

#include <utility>

#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"

namespace brood::net {

class Connection {
 public:
  Connection(Socket socket, const Endpoint& peer, const Endpoint& local,
             Instant accepted_at)
      : socket_(std::move(socket)),
        peer_(peer),
        local_(local),
        accepted_at_(accepted_at) {}

  // The socket; it blocks, and is close-on-exec.
  const Socket& socket() const { return socket_; }
  int fd() const { return socket_.fd(); }

  // The client, as accept4 told: known even if it has gone since.
  const Endpoint& peer() const { return peer_; }
  // The address of ours that the client connected to.
  const Endpoint& local() const { return local_; }
  Instant accepted_at() const { return accepted_at_; }

 private:
  Socket socket_;
  Endpoint peer_;
  Endpoint local_;
  Instant accepted_at_;
};

}  // namespace brood::net

#endif  // BROOD_NET_CONNECTION_H_
