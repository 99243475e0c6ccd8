// SPDX-License-Identifier: Apache-2.0

#include "brood/net/handoff_queue.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace brood::net {
namespace {

// "brod": marks the messages of a HandoffQueue.
constexpr uint32_t kMagic = 0x62726f64;

// The bytes of a message. Both ends are processes of one program on one
// machine, so the layout of this struct is the format.
struct Wire {
  uint32_t magic;
  // Of the connection; 0 without one.
  uint32_t connections_of_host;
  HandoffQueue::Ticket ticket;
  int64_t accepted_at_ns;
  PeerAddress::Bytes peer;
  PeerAddress::Bytes local_address;
};

absl::Status NotAMessage(absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("recvmsg: not a message of a handoff queue: ", why));
}

absl::string_view BytesOf(const Wire& wire) {
  return {reinterpret_cast<const char*>(&wire), sizeof(wire)};
}

// Returns the descriptor that came with `message`; not valid if none came.
// Takes ownership of every one, so that none is leaked; more than one is an
// error.
absl::StatusOr<Socket> TakeDescriptor(msghdr* message) {
  Socket first;
  int count = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr;
       header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const size_t fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < fds; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      Socket socket = Socket::Adopt(fd);
      if (count++ == 0) first = std::move(socket);
    }
  }
  if (count > 1) return NotAMessage("it has more than one descriptor");
  if ((message->msg_flags & MSG_CTRUNC) != 0) {
    // A message of Offer() is truncated for one reason alone: the process has
    // no descriptor free.
    if (count == 0) {
      return absl::ResourceExhaustedError("recvmsg: no descriptor is free");
    }
    return NotAMessage("it has more than one descriptor");
  }
  if (!first.valid()) return first;
  first = Socket::AboveStandardDescriptors(std::move(first));
  if (!first.valid()) {
    return absl::ResourceExhaustedError("recvmsg: no descriptor is free");
  }
  return first;
}

// Returns the first message; nothing if there is none and `flags` contain
// MSG_DONTWAIT.
absl::StatusOr<absl::optional<HandoffQueue::Message>> Receive(
    const Socket& socket, int flags) {
  Wire wire;
  absl::StatusOr<absl::optional<Packet>> packet = ReceivePacket(
      socket, flags,
      absl::MakeSpan(reinterpret_cast<char*>(&wire), sizeof(wire)));
  if (!packet.ok()) return packet.status();
  if (!packet->has_value()) return absl::optional<HandoffQueue::Message>();
  Socket& descriptor = (*packet)->descriptor;
  const absl::StatusOr<HandoffBytes> decoded = HandoffBytes::Decode(
      BytesOf(wire).substr(0, (*packet)->size), descriptor.valid());
  if (!decoded.ok()) return decoded.status();
  HandoffQueue::Message received = {decoded->ticket, absl::nullopt};
  if (decoded->has_connection()) {
    received.connection.emplace(std::move(descriptor), decoded->peer,
                                decoded->local_address, decoded->accepted_at);
    received.connection->set_connections_of_host(decoded->connections_of_host);
  }
  return absl::optional<HandoffQueue::Message>(std::move(received));
}

}  // namespace

absl::StatusOr<SeqpacketPair> SeqpacketPair::Create() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  SeqpacketPair pair = {Socket::Adopt(fds[0]), Socket::Adopt(fds[1])};
  pair.first = Socket::AboveStandardDescriptors(std::move(pair.first));
  pair.second = Socket::AboveStandardDescriptors(std::move(pair.second));
  if (!pair.first.valid() || !pair.second.valid()) {
    return absl::ErrnoToStatus(errno, "fcntl F_DUPFD_CLOEXEC");
  }
  return pair;
}

absl::Status SendPacket(const Socket& socket, absl::string_view bytes, int fd) {
  iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
  }
  const ssize_t sent = TEMP_FAILURE_RETRY(
      sendmsg(socket.fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL));
  if (sent >= 0) return absl::OkStatus();
  if (errno == EAGAIN) {
    return absl::UnavailableError("sendmsg: the queue is full");
  }
  if (errno == ETOOMANYREFS) {
    return absl::ResourceExhaustedError(
        "sendmsg: too many descriptors are on their way");
  }
  return absl::ErrnoToStatus(errno, "sendmsg");
}

absl::StatusOr<absl::optional<Packet>> ReceivePacket(const Socket& socket,
                                                     int flags,
                                                     absl::Span<char> buffer) {
  iovec part = {buffer.data(), buffer.size()};
  // Has room for one descriptor too many, so that a second one is noticed.
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t size = TEMP_FAILURE_RETRY(
      recvmsg(socket.fd(), &message, flags | MSG_CMSG_CLOEXEC | MSG_TRUNC));
  if (size < 0) {
    if (errno == EAGAIN) return absl::optional<Packet>();
    return absl::ErrnoToStatus(errno, "recvmsg");
  }
  absl::StatusOr<Socket> descriptor = TakeDescriptor(&message);
  if (!descriptor.ok()) return descriptor.status();
  if (size == 0 && !descriptor->valid()) {
    return absl::OutOfRangeError("recvmsg: the queue has ended");
  }
  if (static_cast<size_t>(size) > buffer.size()) {
    return NotAMessage("it is too long");
  }
  return absl::optional<Packet>(
      Packet{static_cast<size_t>(size), *std::move(descriptor)});
}

absl::StatusOr<HandoffBytes> HandoffBytes::Decode(absl::string_view bytes,
                                                  bool with_descriptor) {
  Wire wire;
  if (bytes.size() != sizeof(wire)) return NotAMessage("its length is wrong");
  std::memcpy(&wire, bytes.data(), sizeof(wire));
  if (wire.magic != kMagic) return NotAMessage("its mark is missing");
  if ((wire.connections_of_host > 0) != with_descriptor) {
    return NotAMessage("its number of descriptors is wrong");
  }
  HandoffBytes decoded;
  decoded.ticket = wire.ticket;
  decoded.connections_of_host = wire.connections_of_host;
  if (!with_descriptor) return decoded;
  const auto peer = PeerAddress::FromBytes(wire.peer);
  const auto local_address = PeerAddress::FromBytes(wire.local_address);
  if (!peer || !local_address) {
    return NotAMessage("its addresses are not valid");
  }
  decoded.peer = *peer;
  decoded.local_address = *local_address;
  decoded.accepted_at = Instant(std::chrono::nanoseconds(wire.accepted_at_ns));
  return decoded;
}

absl::StatusOr<HandoffQueue> HandoffQueue::Create() {
  absl::StatusOr<SeqpacketPair> pair = SeqpacketPair::Create();
  if (!pair.ok()) return pair.status();
  return HandoffQueue(std::move(pair->first), std::move(pair->second));
}

absl::Status HandoffQueue::Offer(Ticket ticket,
                                 const Connection& connection) const {
  Wire wire = {kMagic,
               std::max(connection.connections_of_host(), 1u),
               ticket,
               std::chrono::duration_cast<std::chrono::nanoseconds>(
                   connection.accepted_at().time_since_epoch())
                   .count(),
               connection.peer().ToBytes(),
               connection.local_address().ToBytes()};
  return SendPacket(offering_, BytesOf(wire), connection.fd());
}

absl::Status HandoffQueue::Order(Ticket order, int fd) const {
  Wire wire = {kMagic, 0, order, 0, {}, {}};
  if (fd >= 0) {
    wire.connections_of_host = 1;
    wire.peer = wire.local_address = PeerAddress::Unix().ToBytes();
  }
  return SendPacket(offering_, BytesOf(wire), fd);
}

absl::StatusOr<absl::optional<HandoffQueue::Message>> HandoffQueue::TakeBack()
    const {
  // Peeks first: a message that cannot be received completely, for example
  // because no descriptor is free, would be lost if it were removed. The peek
  // begins at the first message, because a process that has awaited may have
  // moved the peek offset.
  AwaitFromTheStart();
  absl::StatusOr<absl::optional<Message>> message = TryAwait();
  if (message.ok() && message->has_value() && !Acknowledge()) {
    return absl::ErrnoToStatus(errno, "recv");
  }
  return message;
}

void HandoffQueue::AwaitFromTheStart() const {
  const int none = -1;
  setsockopt(awaiting_.fd(), SOL_SOCKET, SO_PEEK_OFF, &none, sizeof(none));
}

bool HandoffQueue::Discard() const {
  while (!Empty()) {
    if (!Acknowledge()) return errno == EAGAIN;
  }
  return true;
}

bool HandoffQueue::Empty() const {
  int waiting = 0;
  return ioctl(awaiting_.fd(), SIOCINQ, &waiting) == 0 && waiting == 0;
}

absl::StatusOr<HandoffQueue::Message> HandoffQueue::Await() const {
  absl::StatusOr<absl::optional<Message>> message =
      Receive(awaiting_, MSG_PEEK);
  if (!message.ok()) return message.status();
  // Other code that has the socket has made it non-blocking.
  if (!message->has_value()) {
    return absl::FailedPreconditionError("recvmsg: the queue is non-blocking");
  }
  return **std::move(message);
}

absl::StatusOr<absl::optional<HandoffQueue::Message>> HandoffQueue::TryAwait()
    const {
  return Receive(awaiting_, MSG_PEEK | MSG_DONTWAIT);
}

bool HandoffQueue::Acknowledge() const {
  // The kernel closes the descriptor of the message, since there is no buffer
  // for it.
  return TEMP_FAILURE_RETRY(
             recv(awaiting_.fd(), nullptr, 0, MSG_DONTWAIT | MSG_TRUNC)) >= 0;
}

}  // namespace brood::net
