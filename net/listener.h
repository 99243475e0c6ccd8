// SPDX-License-Identifier: Apache-2.0

// Listener: a bound, listening socket, and the meaning of what accept4 says.
//
// Made and used in the parent; a child closes its copy, or the port would stay
// taken for as long as that child lives. Never blocks: the socket is
// non-blocking and close-on-exec from birth, with SO_REUSEADDR so that a
// restart need not wait for old connections. Its connections inherit
// TCP_NODELAY: what a handler writes goes out at once, or a reply in two pieces
// would wait for the client's delayed acknowledgement (40 ms). They inherit
// SO_KEEPALIVE as well, or a client that has lost its power would keep its
// child for ever. Not thread-safe.
//
// Closing a listener resets every client that is still in its queue. To stop
// without a lost connection, call RefuseNewcomers(), accept until kNoneWaiting,
// and for as long as it says, and then close.
//
// On a unix socket all is the same but for what is TCP's: see
// net/unix_listener.h for its file.
//
// Errors: Listen() names the call and the endpoint ("bind 127.0.0.1:80:
// Permission denied"), Adopt() the descriptor and what is wrong with it ("fd:3
// is not a listening stream socket"). Accept() sorts errors by what there is to
// do about them.
//
// Example:
//   absl::StatusOr<Listener> listener =
//       Listener::Listen(endpoint, kFullBacklog);
//   if (!listener.ok()) return listener.status();
//   Accepted accepted = listener->Accept();
//   if (accepted.verdict == AcceptVerdict::kAccepted) {
//     Use(*std::move(accepted.connection));
//   }

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

enum class AcceptVerdict {
  kAccepted,     // there is a connection
  kNoneWaiting,  // the queue is empty: poll
  kTryNext,      // that client is gone, the one behind it may be there
  kPause,  // this process or machine has run out of something: wait, since
           // the connection stays queued and poll would say so for ever
  kDead,   // this descriptor will never accept again: close it
};

// AcceptError is an errno of accept4 and what it asks for.
struct AcceptError {
  int error;
  AcceptVerdict verdict;
};

// Returns the verdict on each errno that accept(2) may report. Those of
// kTryNext may also repeat for ever, if a policy forbids accept: a caller that
// meets many in a row must pause.
absl::Span<const AcceptError> AcceptErrors();
// Returns what an errno of accept4 asks for: kPause if it is not in the table.
AcceptVerdict SortAcceptError(int error);

struct Accepted {
  AcceptVerdict verdict;
  // Set if, and only if, the verdict is kAccepted.
  absl::optional<Connection> connection;
  // The errno behind every other verdict.
  int error = 0;
};

// The longest queue that the kernel allows (net.core.somaxconn).
inline constexpr int kFullBacklog = 0;

// Whether Listener can adopt descriptor `fd`; if not, InvalidArgument or the
// errno of a call, naming it.
absl::Status CheckListening(int fd);

class Listener {
 public:
  // Binds and listens. With port 0, endpoint() tells which port it became. On a
  // machine without IPv6, ":PORT" listens on every IPv4 address.
  // The file of a unix socket gets `unix_mode`.
  static absl::StatusOr<Listener> Listen(const Endpoint& endpoint, int backlog,
                                         mode_t unix_mode = 0600);
  // Takes over a stream socket, internet or unix, that somebody else has bound,
  // and on which he listens already: inherited, perhaps. It becomes what one of
  // Listen()'s is, for whoever else holds it as well: it does not block. If
  // there is an error it is closed.
  static absl::StatusOr<Listener> Adopt(Socket socket);

  // Ends connections with an error when their peer has been gone from the
  // network for about `timeout`: whether it is silent (keepalive) or owes an
  // acknowledgement (TCP_USER_TIMEOUT). Accepted ones inherit it. In whole
  // seconds, 1 to 32767. Does nothing on a unix socket, whose peers are on this
  // machine: the kernel knows at once that one has gone.
  absl::Status SetPeerTimeout(absl::Duration timeout) const;
  // Undoes SetPeerTimeout(), which a program may have called that had this
  // listener before: the kernel's own timeouts hold again for connections that
  // are accepted from now on. Keepalive stays on. Does nothing if no timeout is
  // set.
  absl::Status ResetPeerTimeout() const;

  // Sets the length of the queue again, longer or shorter. Clients that wait
  // stay in the queue.
  absl::Status SetBacklog(int backlog) const;
  // Returns the length of the queue, as the kernel limited it; nothing if the
  // kernel does not report it.
  absl::optional<int> backlog() const;

  // Takes the next connection, if there is one, without blocking.
  Accepted Accept() const;

  // Keeps newcomers out: from now on a client that begins to connect gets no
  // answer, and is refused when the listener is closed; on a unix socket it is
  // refused at once. Clients that have connected, or that are about to, can
  // still be accepted. Affects every process that shares the listener. Returns
  // how long clients may take to complete a connection that they have begun.
  // Has no effect if the kernel refuses. A unix socket then says kDead when its
  // queue is empty.
  absl::Duration RefuseNewcomers() const;
  // Ends the listening for every process that shares the socket; Close() ends
  // it only if no other process has the descriptor. Clients in the queue are
  // reset.
  void EndListening() const;

  // How many connections wait in the kernel's queue; if it can't tell, 0 for
  // TCP and many for a unix socket.
  int queued() const;

  // Where it listens, the kernel's choice of port included.
  const Endpoint& endpoint() const { return endpoint_; }
  int fd() const { return socket_.fd(); }
  bool open() const { return socket_.valid(); }
  // Closes the descriptor; endpoint() stays, for the log. The socket listens as
  // long as another process has a copy of the descriptor.
  void Close() { socket_.Close(); }

 private:
  // Setting is an option of the socket, and what its error begins with.
  struct Setting {
    const char* call;
    int level, option, value;
  };

  Listener(Socket socket, const Endpoint& endpoint);
  absl::Status SetOptions(std::initializer_list<Setting> settings) const;

  Socket socket_;
  Endpoint endpoint_;
  PeerAddress address_;
  // A wildcard listener must ask each connection which address it came to.
  bool any_address_;
};

}  // namespace brood::net

#endif  // BROOD_NET_LISTENER_H_
