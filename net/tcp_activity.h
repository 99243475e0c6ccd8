// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_TCP_ACTIVITY_H_
#define BROOD_NET_TCP_ACTIVITY_H_

#include <cstdint>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/peer_address.h"
#include "brood/net/socket.h"

namespace brood::net {

// TcpSocketId identifies a TCP socket of this machine, so that the kernel can
// be asked about it by a process that has no descriptor of it.
//
// The addresses do not identify a socket: the kernel answers with the listener
// once a connection is gone, and a client may connect again from the same port.
// Nor does its inode, whose number may be used again. The cookie is unique
// until the machine is started again.
//
// A value. No errors.
struct TcpSocketId {
  // Returns the identity of the connection `fd` with these addresses.
  static TcpSocketId Of(int fd, const PeerAddress& local,
                        const PeerAddress& peer);

  // The address of this machine that the client connected to.
  PeerAddress local;
  // The address of the client.
  PeerAddress peer;
  // The cookie of the socket (SO_COOKIE); zero if the kernel has none. Such a
  // socket cannot be asked about.
  uint64_t cookie = 0;
  // The index of the network interface to which the socket is bound
  // (SO_BINDTODEVICE); zero if there is none.
  uint32_t interface = 0;
};

// TcpActivity reports whether and when bytes moved on a TCP connection that
// another process holds.
//
// It asks the kernel (sock_diag, which ss(8) uses). It needs no descriptor of
// the connection and no privileges, and reads no byte of it. One question costs
// about 5 us. The kernel answers for the network namespace in which the object
// was created, and for no other. In a wrong namespace each connection looks
// closed: call CheckSees() with the listener before the first question.
//
// Lives in the parent. Never blocks: the kernel answers within the call.
//
// Errors: Create() returns the errno of socket.
//
// Example:
//   absl::StatusOr<TcpActivity> activity = TcpActivity::Create();
//   TcpActivity::Answer answer = activity->Ask(TcpSocketId::Of(
//       connection.fd(), connection.local_address(), connection.peer()));
//   if (answer.means == TcpActivity::Meaning::kAlive &&
//       answer.bytes_received == 0) ...
class TcpActivity {
 public:
  // Meaning is what an answer says about the socket that was asked about.
  enum class Meaning {
    // A process holds the socket; the other fields of the answer describe it.
    kAlive,
    // No process holds it in a network namespace that is visible: each process
    // has closed it, or the connection has ended (a reset, TIME_WAIT).
    kClosed,
    // It is gone as with kClosed, and another socket has its addresses: its
    // listener, or a later connection.
    kAnotherSocket,
    // The kernel was not able to answer; `error` is the reason. Nothing is
    // known about the connection.
    kNotVisible,
  };

  // Answer is what the kernel reports about a connection.
  struct Answer {
    // What the answer says about the connection.
    Meaning means = Meaning::kNotVisible;
    // How many bytes came from the peer.
    uint64_t bytes_received = 0;
    // How many bytes went to the peer. A byte that was sent again counts once.
    uint64_t bytes_sent = 0;
    // How many of these the peer has acknowledged.
    uint64_t bytes_acknowledged = 0;
    // The time since a segment with bytes last came from the peer or went to
    // it, or the peer acknowledged anything. A segment that is sent again to a
    // peer that has lost its power counts too, so a short time does not prove
    // that the peer is there; a change of the counts does.
    absl::Duration since_segment;
    // Whether bytes wait to be sent or acknowledged.
    bool more_waits = false;
    // The interface to which the socket is bound now, which may differ from
    // that of the question.
    uint32_t interface = 0;
    // OK unless the answer is kNotVisible.
    absl::Status error;
  };

  // Returns an object that asks in the network namespace of this thread.
  static absl::StatusOr<TcpActivity> Create();
  // Returns an object that asks in the namespace of `socket`, a socket of
  // NETLINK_SOCK_DIAG.
  static TcpActivity Adopt(Socket socket) {
    return TcpActivity(std::move(socket));
  }

  // Returns what the kernel reports about the connection `id`. Looks for it by
  // its addresses, and then among all sockets by its cookie, so that it is
  // found although a process has bound it to another interface.
  Answer Ask(const TcpSocketId& id) const;

  // Asks about the TCP listener `fd` of this process, as about a connection.
  // Returns OK if the kernel reports the listener; then it reports the
  // connections of this listener as well. Returns NotFound if the listener is
  // in another network namespace, or if this kernel reports no TCP sockets;
  // otherwise the errno of the question. Where AF_NETLINK is not allowed, that
  // is EAFNOSUPPORT, EPERM or EACCES. Sockets have cookies since Linux 4.12.
  absl::Status CheckSees(int fd) const;

  // Lends the descriptor of the netlink socket.
  int fd() const { return socket_.fd(); }

 private:
  struct Question;

  // Takes ownership of `socket`, a netlink socket for NETLINK_SOCK_DIAG.
  explicit TcpActivity(Socket socket) : socket_(std::move(socket)) {}

  // Reads the rest of an answer that was not read to its end. Returns the error
  // of recv.
  absl::Status Drain() const;
  // Asks `question` and passes each message of the answer to `take`. Returns
  // NotFound if the kernel has no such socket.
  absl::Status Exchange(
      Question& question,
      absl::FunctionRef<void(const char*, size_t)> take) const;
  // Returns the socket of `id`, in one of `states`; NotFound if there is none.
  // Stores whether another socket has the addresses.
  absl::StatusOr<Answer> Find(const TcpSocketId& id, uint32_t states,
                              bool* another) const;

  Socket socket_;
  // The number of the last question, by which an answer to an earlier question
  // is recognized.
  mutable uint32_t sequence_ = 0;
  // Whether the last answer was not read to its end.
  mutable bool interrupted_ = false;
};

}  // namespace brood::net

#endif  // BROOD_NET_TCP_ACTIVITY_H_
