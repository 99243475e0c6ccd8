// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_HANDOFF_QUEUE_H_
#define BROOD_NET_HANDOFF_QUEUE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/peer_address.h"
#include "brood/net/socket.h"

namespace brood::net {

// SeqpacketPair: two unix sockets, connected to each other, that keep the
// boundaries of messages.
//
// Used by processes of this program that were forked from one another. Both
// sockets belong to the caller; they block, are close-on-exec and lie above the
// standard descriptors.
//
// Errors: Create() names the call: socketpair or fcntl.
//
// Example:
//   absl::StatusOr<SeqpacketPair> pair = SeqpacketPair::Create();
//   if (!pair.ok()) return pair.status();
//   send(pair->first.fd(), "ping", 4, MSG_NOSIGNAL);
struct SeqpacketPair {
  // Creates a connected pair.
  static absl::StatusOr<SeqpacketPair> Create();

  // One end of the pair.
  Socket first;
  // The other end.
  Socket second;
};

// Packet is what ReceivePacket() received beside the bytes.
struct Packet {
  // The number of bytes that were received.
  size_t size;
  // The descriptor that came with the bytes; not valid if none came.
  Socket descriptor;
};

// Sends `bytes` as one message, with a copy of `fd` unless that is -1. Does not
// block, and raises no SIGPIPE. Returns Unavailable if the socket has no room.
absl::Status SendPacket(const Socket& socket, absl::string_view bytes, int fd);

// Receives one message into `buffer`, with the `flags` of recvmsg(2). Returns
// nothing if there is no message and the flags contain MSG_DONTWAIT, and
// OutOfRange if the other end is closed. A message that is too long, or that
// brings more than one descriptor, is InvalidArgument. No descriptor is leaked.
absl::StatusOr<absl::optional<Packet>> ReceivePacket(const Socket& socket,
                                                     int flags,
                                                     absl::Span<char> buffer);

// HandoffQueue: a queue of connections that wait for another process of this
// program. The kernel holds it, as a pair of unix sockets.
//
//   parent ──Offer──▶ [ connection, connection ] ──Await──▶ child
//                          └──────removes the first◀──Acknowledge
//
// The parent owns both ends and offers; a forked child awaits, one process at a
// time. A message stays in the queue until it is acknowledged: if the child
// dies before that, the connection is not lost. The queue ends when no process
// can offer, so a child closes the offering end. A malformed message is an
// error for its reader and leaks no descriptor. Errors: see the functions.
//
// Example:
//   absl::StatusOr<HandoffQueue> queue = HandoffQueue::Create();
//   absl::Status offered =
//       queue->Offer({/*slot=*/7, /*serial=*/1}, connection);
//   ... in the child:
//   absl::StatusOr<HandoffQueue::Message> message = queue->Await();
//   queue->Acknowledge();
//   handler(*message->connection);
class HandoffQueue {
 public:
  // Ticket identifies a message for the parent.
  struct Ticket {
    // The slot of the connection in the scoreboard.
    uint32_t slot;
    // A number that distinguishes this message from others about the slot.
    uint32_t serial;
  };
  // Message is a connection; or, without one, a command of the caller.
  struct Message {
    // The ticket that was offered.
    Ticket ticket;
    // The connection; none if the message is a command.
    absl::optional<Connection> connection;
  };

  // Owns nothing.
  HandoffQueue() = default;
  // Creates a queue. Returns the errno of socketpair or fcntl.
  static absl::StatusOr<HandoffQueue> Create();
  // Takes ownership of `fd`, the awaiting end that a child inherited.
  static HandoffQueue AdoptAwaiting(int fd) {
    return HandoffQueue(Socket(), Socket::Adopt(fd));
  }

  // Adds a copy of `connection` to the queue, without blocking; the caller
  // still owns, and closes, its own. Called in the parent.
  //
  // Errors: Unavailable if the queue is full for now; ResourceExhausted if too
  // many descriptors of this user are on their way in unix sockets; otherwise
  // the errno of sendmsg.
  absl::Status Offer(Ticket ticket, const Connection& connection) const;
  // Adds a command to the queue, with a copy of `fd` unless that is -1. The
  // descriptor arrives as the socket of a connection. Errors: as Offer().
  absl::Status Order(Ticket order, int fd = -1) const;
  // Removes the first message and returns it; nothing if the queue is empty.
  // Called in the parent. Errors: as Await().
  absl::StatusOr<absl::optional<Message>> TakeBack() const;
  // Reports whether every message was acknowledged; false if the kernel does
  // not report it.
  bool Empty() const;
  // Removes every message. Returns false if the kernel refuses.
  bool Discard() const;

  // Waits for the first message and returns it; the message stays in the queue
  // until Acknowledge(). Called in the child.
  //
  // Errors: OutOfRange if the queue has ended; ResourceExhausted if no
  // descriptor is free (the connection stays in the queue); InvalidArgument if
  // the message is not one of Offer() or Order(), and the caller must
  // acknowledge it; FailedPrecondition if the queue was made non-blocking;
  // otherwise the errno of recvmsg.
  absl::StatusOr<Message> Await() const;
  // Returns what Await() returns, without waiting; nothing if the queue is
  // empty.
  absl::StatusOr<absl::optional<Message>> TryAwait() const;
  // Removes the first message. Returns false if there is none, or if the kernel
  // refuses.
  bool Acknowledge() const;

  // Resets the peek offset of the awaiting end, which a handler that had it may
  // have changed: the next message awaited is the first one again.
  void AwaitFromTheStart() const;

  // Reports whether there is a queue.
  bool valid() const { return awaiting_.valid(); }
  // Lends both descriptors.
  std::array<int, 2> fds() const { return {fd_to_offer(), fd_to_await()}; }
  // Lends the descriptor of the offering end; -1 if it is not owned.
  int fd_to_offer() const { return offering_.fd(); }
  // Lends the descriptor of the awaiting end; -1 if it is not owned.
  int fd_to_await() const { return awaiting_.fd(); }
  // Closes the awaiting end, in a child that will await no more.
  void StopAwaiting() { awaiting_.Close(); }

 private:
  // Takes ownership of both ends. `offering` is not valid in a child, which
  // only awaits.
  HandoffQueue(Socket offering, Socket awaiting)
      : offering_(std::move(offering)), awaiting_(std::move(awaiting)) {}

  Socket offering_;
  Socket awaiting_;
};

// HandoffBytes is the content of a message of a HandoffQueue.
//
// A value, for the queue and for its tests.
struct HandoffBytes {
  // The ticket that was offered.
  HandoffQueue::Ticket ticket;
  // The number of connections of the host, as Connection has it; 0 without a
  // connection, of which the other fields are.
  uint32_t connections_of_host = 0;
  // The address of the client.
  PeerAddress peer;
  // The address of this machine that the client connected to.
  PeerAddress local_address;
  // The time of accept.
  Instant accepted_at;

  // Reports whether the message has a connection.
  bool has_connection() const { return connections_of_host > 0; }

  // Returns the content of the message `bytes`, `with_descriptor` if a
  // descriptor came with it. A pure function. Returns InvalidArgument for bytes
  // that Offer() and Order() do not send.
  static absl::StatusOr<HandoffBytes> Decode(absl::string_view bytes,
                                             bool with_descriptor);
};

}  // namespace brood::net

#endif  // BROOD_NET_HANDOFF_QUEUE_H_
