// SPDX-License-Identifier: Apache-2.0

#include "brood/net/tcp_activity.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/status/status.h"
#include "absl/types/optional.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

namespace brood::net {
namespace {

// The states of TCP, as the kernel numbers them in an answer. Those of sockets
// without a process (TIME_WAIT, NEW_SYN_RECV) are never asked for when a socket
// is looked for by its cookie: no process holds them.
constexpr uint32_t kListen = 10;
constexpr uint32_t kListening = 1U << kListen;
constexpr uint32_t kConnected = 1U << 1 | 1U << 4 | 1U << 5 | 1U << 8 |
                                1U << 9 | 1U << 11;  // ESTABLISHED to CLOSING

void SetAddresses(const TcpSocketId& socket, inet_diag_sockid* id) {
  const PeerAddress& local = socket.local;
  const PeerAddress& peer = socket.peer;
  id->idiag_sport = htons(local.port());
  id->idiag_dport = htons(peer.port());
  std::memcpy(id->idiag_src, local.host().data(), local.host().size());
  std::memcpy(id->idiag_dst, peer.host().data(), peer.host().size());
  id->idiag_if = socket.interface;
  if (id->idiag_if == 0 && peer.is_ipv6()) {
    const auto* to = reinterpret_cast<const sockaddr_in6*>(peer.address());
    id->idiag_if = to->sin6_scope_id;
  }
  // The cookie is compared here, with that of the answer. If the kernel
  // compared it, it would report no socket where another one has these
  // addresses.
  id->idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

uint64_t CookieIn(const inet_diag_sockid& id) {
  return uint64_t{id.idiag_cookie[1]} << 32 | id.idiag_cookie[0];
}

// Returns the tcp_info in a message of `size` bytes.
tcp_info InfoIn(const char* message, size_t size) {
  tcp_info info = {};
  size_t place = NLMSG_LENGTH(sizeof(inet_diag_msg));
  rtattr attribute;
  while (place + sizeof(attribute) <= size) {
    std::memcpy(&attribute, message + place, sizeof(attribute));
    if (attribute.rta_len < sizeof(attribute)) break;
    if (attribute.rta_type == INET_DIAG_INFO) {
      // Kernels differ in how much of the tcp_info they send.
      const size_t length =
          std::min({sizeof(info), attribute.rta_len - sizeof(attribute),
                    size - place - sizeof(attribute)});
      std::memcpy(&info, message + place + sizeof(attribute), length);
      break;
    }
    place += RTA_ALIGN(attribute.rta_len);
  }
  return info;
}

// Returns the error of `call`. It is never NotFound, which is what the kernel
// answers.
absl::Status ErrorOf(const char* call) {
  absl::Status error = absl::ErrnoToStatus(errno, call);
  if (!absl::IsNotFound(error)) return error;
  return absl::UnavailableError(error.message());
}

}  // namespace

struct TcpActivity::Question {
  nlmsghdr header;
  inet_diag_req_v2 request;
};

TcpSocketId TcpSocketId::Of(int fd, const PeerAddress& local,
                            const PeerAddress& peer) {
  TcpSocketId id;
  id.local = local;
  id.peer = peer;
  socklen_t length = sizeof(id.cookie);
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &id.cookie, &length) < 0) {
    id.cookie = 0;
  }
  int interface = 0;
  length = sizeof(interface);
  if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &interface, &length) == 0) {
    id.interface = static_cast<uint32_t>(interface);
  }
  return id;
}

absl::StatusOr<TcpActivity> TcpActivity::Create() {
  Socket socket = Socket::AboveStandardDescriptors(Socket::Adopt(
      ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)));
  if (!socket.valid()) {
    return absl::ErrnoToStatus(errno, "socket NETLINK_SOCK_DIAG");
  }
  return TcpActivity(std::move(socket));
}

absl::Status TcpActivity::Drain() const {
  char buffer[8192];
  // Each recv lets the kernel write the next part of a list that was
  // interrupted; while it does, it refuses to begin another one.
  while (TEMP_FAILURE_RETRY(
             recv(socket_.fd(), buffer, sizeof(buffer), MSG_DONTWAIT)) >= 0) {
  }
  // ENOBUFS: the queue had no room for an answer.
  if (errno != EAGAIN && errno != ENOBUFS) {
    return ErrorOf("recv from sock_diag");
  }
  interrupted_ = false;
  return absl::OkStatus();
}

// The kernel writes the first part of the answer within send(), and each
// further part within the recv() that reads the part before.
absl::Status TcpActivity::Exchange(
    Question& question,
    absl::FunctionRef<void(const char*, size_t)> take) const {
  if (interrupted_) {
    absl::Status drained = Drain();
    if (!drained.ok()) return drained;
  }
  const uint32_t sequence = ++sequence_;
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_seq = sequence;
  if (TEMP_FAILURE_RETRY(send(socket_.fd(), &question, sizeof(question), 0)) <
      0) {
    return ErrorOf("send to sock_diag");
  }
  interrupted_ = true;
  const bool has_parts = (question.header.nlmsg_flags & NLM_F_DUMP) != 0;
  alignas(nlmsghdr) char buffer[8192];
  for (;;) {
    const ssize_t got = TEMP_FAILURE_RETRY(
        recv(socket_.fd(), buffer, sizeof(buffer), MSG_DONTWAIT));
    if (got < 0) return ErrorOf("recv from sock_diag");
    size_t place = 0;
    const auto size = static_cast<size_t>(got);
    nlmsghdr header;
    while (place + sizeof(header) <= size) {
      const char* const message = buffer + place;
      std::memcpy(&header, message, sizeof(header));
      if (header.nlmsg_len < sizeof(header)) break;
      const size_t length = std::min<size_t>(header.nlmsg_len, size - place);
      place += NLMSG_ALIGN(header.nlmsg_len);
      if (header.nlmsg_seq != sequence) continue;
      // The message that ends an answer with parts has an errno as well.
      int error = 0;
      if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
        if (length < NLMSG_LENGTH(sizeof(error))) {
          return absl::InternalError("sock_diag: too short");
        }
        std::memcpy(&error, message + NLMSG_HDRLEN, sizeof(error));
        // EBUSY: there is an earlier list that was not read.
        interrupted_ = error == -EBUSY;
        if (error == 0) return absl::OkStatus();
        if (error == -ENOENT) return absl::NotFoundError("sock_diag");
        return absl::ErrnoToStatus(-error, "sock_diag");
      }
      take(message, length);
      if (has_parts) continue;
      interrupted_ = false;
      return absl::OkStatus();
    }
  }
}

absl::StatusOr<TcpActivity::Answer> TcpActivity::Find(const TcpSocketId& id,
                                                      uint32_t states,
                                                      bool* another) const {
  if (id.cookie == 0) {
    return absl::UnimplementedError(
        "getsockopt SO_COOKIE: this kernel has no socket cookies");
  }
  Question question = {};
  question.request.sdiag_family = id.peer.is_ipv6() ? AF_INET6 : AF_INET;
  question.request.sdiag_protocol = IPPROTO_TCP;
  question.request.idiag_ext = 1 << (INET_DIAG_INFO - 1);
  question.request.idiag_states = states;
  SetAddresses(id, &question.request.id);
  absl::optional<Answer> found;
  bool by_addresses = true;
  const auto take = [&](const char* message, size_t size) {
    inet_diag_msg about;
    if (size < NLMSG_LENGTH(sizeof(about))) return;
    std::memcpy(&about, message + NLMSG_HDRLEN, sizeof(about));
    // A socket that no process holds has no inode: one in TIME_WAIT, or one
    // that was closed and has bytes left to send.
    const bool is_held = about.idiag_inode != 0;
    const bool is_meant = is_held && (states >> about.idiag_state & 1) != 0 &&
                          CookieIn(about.id) == id.cookie;
    if (!is_meant) {
      *another |= by_addresses && is_held;
      return;
    }
    const tcp_info info = InfoIn(message, size);
    Answer answer;
    answer.means = Meaning::kAlive;
    answer.bytes_received = info.tcpi_bytes_received;
    // Both counts grow when bytes are sent again.
    answer.bytes_sent = info.tcpi_bytes_sent -
                        std::min(info.tcpi_bytes_sent, info.tcpi_bytes_retrans);
    answer.since_segment = absl::Milliseconds(
        std::min({info.tcpi_last_data_recv, info.tcpi_last_data_sent,
                  info.tcpi_last_ack_recv}));
    answer.bytes_acknowledged = info.tcpi_bytes_acked;
    answer.more_waits = info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0;
    answer.interface = about.id.idiag_if;
    found = answer;
  };
  question.header.nlmsg_flags = NLM_F_REQUEST;
  absl::Status asked = Exchange(question, take);
  if (!found) {
    // Asks for all sockets with these ports: a connection by IPv4 may belong to
    // an IPv6 socket.
    by_addresses = false;
    question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    for (const uint8_t family : {AF_INET, AF_INET6}) {
      if (found || (!asked.ok() && !absl::IsNotFound(asked))) break;
      if (family == AF_INET && id.peer.is_ipv6()) continue;
      question.request.sdiag_family = family;
      asked = Exchange(question, take);
    }
  }
  if (found) return *found;
  if (!asked.ok()) return asked;
  return absl::NotFoundError("sock_diag: no such socket");
}

TcpActivity::Answer TcpActivity::Ask(const TcpSocketId& id) const {
  bool another = false;
  absl::StatusOr<Answer> found = Find(id, kConnected, &another);
  if (found.ok()) return *std::move(found);
  Answer answer;
  if (!absl::IsNotFound(found.status())) {
    answer.error = found.status();
  } else {
    answer.means = another ? Meaning::kAnotherSocket : Meaning::kClosed;
  }
  return answer;
}

absl::Status TcpActivity::CheckSees(int fd) const {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0) {
    return absl::ErrnoToStatus(errno, "getsockname");
  }
  TcpSocketId id =
      TcpSocketId::Of(fd, PeerAddress::FromSockaddr(address), PeerAddress());
  if (id.local.is_ipv6()) {
    sockaddr_storage any = {};
    any.ss_family = AF_INET6;
    id.peer = PeerAddress::FromSockaddr(any);
  }
  bool another = false;
  return Find(id, kListening, &another).status();
}

}  // namespace brood::net
