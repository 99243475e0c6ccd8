// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_LISTENER_H_
#define BROOD_NET_LISTENER_H_

#include <sys/types.h>

#include <initializer_list>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/peer_address.h"
#include "brood/net/socket.h"

namespace brood::net {

// AcceptVerdict is what the caller of Accept() has to do next.
enum class AcceptVerdict {
  // Serve the connection.
  kAccepted,
  // Poll: the queue is empty.
  kNoneWaiting,
  // Accept again: this client is gone, the next one may be there.
  kTryNext,
  // Wait: this process or machine has run out of a resource. The connection
  // stays queued, so that poll() would return at once, again and again.
  kPause,
  // Close the listener: this descriptor will never accept again.
  kDead,
};

// AcceptError is an errno of accept4 and its verdict.
struct AcceptError {
  // The errno.
  int error;
  // What the caller has to do about it.
  AcceptVerdict verdict;
};

// Returns the verdict on each errno that accept(2) may report. An errno of
// kTryNext may repeat without end if a policy forbids accept: a caller that
// meets many in a row must pause.
absl::Span<const AcceptError> AcceptErrors();
// Returns the verdict on an errno of accept4; kPause if it is not in the table.
AcceptVerdict SortAcceptError(int error);

// Accepted is the result of one Listener::Accept().
struct Accepted {
  // What the caller has to do next.
  AcceptVerdict verdict;
  // The connection; set if, and only if, the verdict is kAccepted.
  absl::optional<Connection> connection;
  // The errno behind every other verdict.
  int error = 0;
};

// The backlog that stands for the longest queue that the kernel allows
// (net.core.somaxconn).
inline constexpr int kFullBacklog = 0;

// Returns OK if Listener can adopt the descriptor `fd`, and otherwise
// InvalidArgument or the errno of a call, which it names.
absl::Status CheckListening(int fd);

// Listener: a bound, listening socket, TCP or unix, that never blocks.
//
// Created and used in the parent; a child must close its copy, because the port
// stays in use for as long as any process has it. A resource: it is moved,
// never copied. Not thread-safe. Accepted connections inherit TCP_NODELAY and
// SO_KEEPALIVE.
//
// Closing a listener resets every client that is still in its queue. To stop
// without losing a connection, call RefuseNewcomers(), accept until
// kNoneWaiting and until the time that it returned has passed, and then close.
//
// Example:
//   absl::StatusOr<Listener> listener =
//       Listener::Listen(endpoint, kFullBacklog);
//   if (!listener.ok()) return listener.status();
//   Accepted accepted = listener->Accept();
//   if (accepted.verdict == AcceptVerdict::kAccepted) {
//     Use(*std::move(accepted.connection));
//   }
class Listener {
 public:
  // Binds to `endpoint` and listens. With port 0 the kernel chooses a port,
  // which endpoint() returns. On a machine without IPv6, ":PORT" listens on
  // every IPv4 address. The file of a unix socket gets the mode `unix_mode`;
  // see net/unix_listener.h. The socket is non-blocking and close-on-exec from
  // the start, and has SO_REUSEADDR, so that a restart need not wait for old
  // connections.
  //
  // Errors: name the call and the endpoint, as in "bind 127.0.0.1:80:
  // Permission denied".
  static absl::StatusOr<Listener> Listen(const Endpoint& endpoint, int backlog,
                                         mode_t unix_mode = 0600);
  // Takes ownership of `socket`, a listening stream socket, internet or unix,
  // that was created elsewhere, for example inherited. Sets O_NONBLOCK on the
  // open file, which also affects other processes that share it. On an error
  // the socket is closed.
  //
  // Errors: name the descriptor and what is wrong with it, as in "fd:3 is not a
  // listening stream socket".
  static absl::StatusOr<Listener> Adopt(Socket socket);

  // Sets how long a peer may be gone from the network, whether it is silent
  // (keepalive) or owes an acknowledgement (TCP_USER_TIMEOUT), before the
  // kernel ends the connection with an error. `timeout` is approximate, in
  // whole seconds from 1 to 32767. Connections that are accepted from now on
  // inherit it. Does nothing on a unix socket, whose peers are on this machine:
  // the kernel knows at once that a peer has gone.
  absl::Status SetPeerTimeout(absl::Duration timeout) const;
  // Restores the kernel's own timeouts for connections that are accepted from
  // now on, after an earlier owner of this socket called SetPeerTimeout().
  // Keepalive stays on. Does nothing if no timeout is set.
  absl::Status ResetPeerTimeout() const;

  // Sets the length of the queue again, longer or shorter. Clients that wait
  // stay in the queue.
  absl::Status SetBacklog(int backlog) const;
  // Returns the length of the queue, as the kernel limited it; nothing if the
  // kernel does not report it.
  absl::optional<int> backlog() const;

  // Accepts the next connection, if there is one, without blocking.
  Accepted Accept() const;

  // Stops new clients from connecting: from now on a client that begins to
  // connect gets no answer, and is refused when the listener is closed; on a
  // unix socket it is refused at once. Clients that have connected, or that are
  // about to, can still be accepted. Affects every process that shares the
  // listener. Returns how long clients may take to complete a connection that
  // they have begun. Has no effect if the kernel refuses. After this call,
  // Accept() on a unix socket returns kDead when the queue is empty.
  absl::Duration RefuseNewcomers() const;
  // Ends the listening for every process that shares the socket, whereas
  // Close() ends it only if no other process has the descriptor. Resets the
  // clients in the queue.
  void EndListening() const;

  // Returns how many connections wait in the kernel's queue. If the kernel does
  // not report it: 0 for TCP, and 4096 for a unix socket (see QueuedOnUnix()).
  int queued() const;

  // Returns where it listens, with the port that the kernel chose.
  const Endpoint& endpoint() const { return endpoint_; }
  // Lends the descriptor; -1 if it is closed.
  int fd() const { return socket_.fd(); }
  // Reports whether the descriptor is open.
  bool open() const { return socket_.valid(); }
  // Closes the descriptor. endpoint() still returns the endpoint, for the log.
  // The socket listens as long as another process has a copy of the descriptor.
  void Close() { socket_.Close(); }

 private:
  // Setting is an option of the socket, and the beginning of its error text.
  struct Setting {
    const char* call;
    int level, option, value;
  };

  // Takes ownership of `socket`, which listens at `endpoint` already.
  Listener(Socket socket, const Endpoint& endpoint);
  // Sets each of `settings` on the socket, in their order. Returns the error of
  // the first call that fails, and does not make the calls after it.
  absl::Status SetOptions(std::initializer_list<Setting> settings) const;

  Socket socket_;
  Endpoint endpoint_;
  PeerAddress address_;
  // Whether it listens on every address: then the local address of each
  // connection must be read from its socket.
  bool any_address_;
};

}  // namespace brood::net

#endif  // BROOD_NET_LISTENER_H_
