// SPDX-License-Identifier: Apache-2.0

// HandoffQueue: a queue in which connections wait for another process of this
// program to take them over.
//
// The kernel keeps it, a pair of Unix sockets. The parent holds both ends and
// offers connections; a child that it forked awaits them. What the child awaits
// stays in the queue until it acknowledges: should it die before, the
// connection is still there, for the parent to take back or for another child
// to await, and the client notices nothing. In the meantime the parent need not
// hold a descriptor for it, nor hear of the acknowledgement.
//
//   parent ──Offer──▶ [ connection, connection ] ──Await──▶ child
//                          └──────removes the first◀──Acknowledge
//
// Each connection travels with a ticket, the parent's word for which one it is.
//
// Only one process at a time may await. When every process that could offer is
// gone, the queue ends; so a child closes its copy of the offering end (both
// ends are private in the parent; the child keeps fd_to_await()).
//
// A message that is not whole and exactly as Offer() makes it is an error for
// its reader, and leaves no descriptor behind.
//
// Errors, naming the call:
//   Unavailable        Offer: the queue is full, for now
//   ResourceExhausted  Offer: too many descriptors of this user are on their
//                      way, in all sockets; Await, TakeBack: no descriptor is
//                      free, and the connection stays in the queue
//   OutOfRange         Await: the queue has ended
//   InvalidArgument    the message is not one of Offer()'s; Acknowledge() it
//   others             the errno of socketpair, sendmsg, recvmsg
//
// Example:
//   absl::StatusOr<HandoffQueue> queue = HandoffQueue::Create();
//   absl::Status offered = queue->Offer({/*slot=*/7, /*serial=*/1},
//   connection);
//   ... in the child:
//   absl::StatusOr<HandoffQueue::Message> message = queue->Await();
//   queue->Acknowledge();
//   handler(*message->connection);

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
  // Says how many bytes were received.
  size_t size;
  // Owns the descriptor that came with them; not valid if none did.
  Socket descriptor;
};

// Sends `bytes` as one message, with a copy of `fd` unless that is -1. Does not
// block, and raises no SIGPIPE. Returns Unavailable if the socket has no room.
absl::Status SendPacket(const Socket& socket, absl::string_view bytes, int fd);

// Receives one message into `buffer`, as `flags` of recvmsg(2) say. Returns
// nothing if there is none and the flags say not to wait, and OutOfRange if
// the other end is closed. A message that is too long, or that brings more than
// one descriptor, is InvalidArgument. No descriptor stays open unowned.
absl::StatusOr<absl::optional<Packet>> ReceivePacket(const Socket& socket,
                                                     int flags,
                                                     absl::Span<char> buffer);

class HandoffQueue {
 public:
  struct Ticket {
    uint32_t slot;
    uint32_t serial;
  };
  // A connection; or, without one, an order whose meaning is the caller's.
  struct Message {
    Ticket ticket;
    absl::optional<Connection> connection;
  };

  // Owns nothing.
  HandoffQueue() = default;
  static absl::StatusOr<HandoffQueue> Create();
  // In the child: the end that awaits, by its number.
  static HandoffQueue AdoptAwaiting(int fd) {
    return HandoffQueue(Socket(), Socket::Adopt(fd));
  }

  // In the parent. Neither blocks nor takes ownership: the queue gets a copy of
  // the connection, and the caller closes its own.
  absl::Status Offer(Ticket ticket, const Connection& connection) const;
  // With a copy of `fd`, unless that is -1; it arrives as the socket of a
  // connection.
  absl::Status Order(Ticket order, int fd = -1) const;
  // Removes the first message and gives it; nothing if there is none.
  absl::StatusOr<absl::optional<Message>> TakeBack() const;
  // Whether everything that was offered was acknowledged. (If the kernel does
  // not say: no.)
  bool Empty() const;
  // Removes all there are; false if the kernel did not let it.
  bool Discard() const;

  // In the child. Waits for the first message, which stays where it is,
  absl::StatusOr<Message> Await() const;
  // or gives nothing if there is none just now.
  absl::StatusOr<absl::optional<Message>> TryAwait() const;
  // Removes the first message; false if there is none, or the kernel did not
  // let it.
  bool Acknowledge() const;

  // Undoes what a handler that had this end of the queue may have set on it:
  // what is awaited next is its first message.
  void AwaitFromTheStart() const;

  // Reports whether there is a queue.
  bool valid() const { return awaiting_.valid(); }
  // Lends both descriptors.
  std::array<int, 2> fds() const { return {fd_to_offer(), fd_to_await()}; }
  int fd_to_offer() const { return offering_.fd(); }
  int fd_to_await() const { return awaiting_.fd(); }
  // In the child, when it will await no more.
  void StopAwaiting() { awaiting_.Close(); }

 private:
  HandoffQueue(Socket offering, Socket awaiting)
      : offering_(std::move(offering)), awaiting_(std::move(awaiting)) {}

  Socket offering_;
  Socket awaiting_;
};

// What a message's bytes say, given whether a descriptor came with them. Pure;
// for HandoffQueue, and for whoever wants to try it with bytes of all sorts.
struct HandoffBytes {
  HandoffQueue::Ticket ticket;
  // As Connection has it; 0 without a connection.
  uint32_t connections_of_host = 0;
  PeerAddress peer;
  PeerAddress local_address;
  Instant accepted_at;

  // Reports whether the message has a connection.
  bool has_connection() const { return connections_of_host > 0; }

  static absl::StatusOr<HandoffBytes> Decode(absl::string_view bytes,
                                             bool with_descriptor);
};

}  // namespace brood::net

#endif  // BROOD_NET_HANDOFF_QUEUE_H_
