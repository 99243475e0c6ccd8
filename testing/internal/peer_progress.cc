// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/internal/peer_progress.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "brood/testing/connection_pair.h"

namespace brood::testing {
namespace {

// States of a connection; the <linux/tcp.h> for programs has no names for them.
constexpr int kSynRecv = 3;
constexpr int kListen = 10;
constexpr int kNewSynRecv = 12;

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 about;
};

// Copies the address and the port of `end` into the fields of a request.
void Put(const sockaddr_storage& end, __be32 (&address)[4], __be16& port) {
  if (end.ss_family == AF_INET6) {
    const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(end);
    std::memcpy(address, &ipv6.sin6_addr, sizeof(ipv6.sin6_addr));
    port = ipv6.sin6_port;
  } else {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(end);
    std::memcpy(address, &ipv4.sin_addr, sizeof(ipv4.sin_addr));
    port = ipv4.sin_port;
  }
}

absl::StatusOr<net::Socket> AskableKernel() {
  net::Socket kernel = net::Socket::Adopt(
      socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!kernel.valid()) return absl::ErrnoToStatus(errno, "socket sock_diag");
  return kernel;
}

// Reports whether the end that the reply describes has received `bytes` bytes
// and has no unread ones.
bool ReplySaysRead(const nlmsghdr& header, uint64_t bytes) {
  const auto* const reply =
      static_cast<const inet_diag_msg*>(NLMSG_DATA(&header));
  // The TCP handshake may end a moment later there than here.
  if (reply->idiag_state == kSynRecv || reply->idiag_state == kNewSynRecv) {
    return false;
  }
  // The kernel finds the listener if the end has been closed.
  if (reply->idiag_state == kListen) return true;
  int left = static_cast<int>(header.nlmsg_len - NLMSG_LENGTH(sizeof(*reply)));
  const auto* attribute = reinterpret_cast<const rtattr*>(reply + 1);
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type != INET_DIAG_INFO) continue;
    tcp_info tcp = {};
    const size_t size = RTA_PAYLOAD(attribute);
    std::memcpy(&tcp, RTA_DATA(attribute),
                size < sizeof(tcp) ? size : sizeof(tcp));
    return tcp.tcpi_bytes_received >= bytes && reply->idiag_rqueue == 0;
  }
  return true;  // the rest of a closed connection, which no process has
}

}  // namespace

absl::Status PeerProgress::Supported() {
  const absl::StatusOr<ConnectionPair> pair = ConnectionPair::Create();
  if (!pair.ok()) return pair.status();
  absl::StatusOr<PeerProgress> far_end = Of(pair->client);
  if (!far_end.ok()) return far_end.status();
  const absl::StatusOr<bool> has_read = far_end->HasRead(1);
  if (!has_read.ok()) return has_read.status();
  // A kernel without such reports finds no socket, as if the end were closed.
  if (!*has_read) return absl::OkStatus();
  return absl::UnimplementedError("sock_diag does not know of TCP connections");
}

absl::StatusOr<PeerProgress> PeerProgress::Of(const net::Socket& near) {
  sockaddr_storage here = {}, there = {};
  socklen_t length = sizeof(here);
  if (getsockname(near.fd(), reinterpret_cast<sockaddr*>(&here), &length) < 0) {
    return absl::ErrnoToStatus(errno, "getsockname");
  }
  length = sizeof(there);
  if (getpeername(near.fd(), reinterpret_cast<sockaddr*>(&there), &length) <
      0) {
    return absl::ErrnoToStatus(errno, "getpeername");
  }
  absl::StatusOr<net::Socket> kernel = AskableKernel();
  if (!kernel.ok()) return kernel.status();
  return PeerProgress(*std::move(kernel), here, there);
}

absl::StatusOr<bool> PeerProgress::HasRead(uint64_t bytes) {
  Request request = {};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.about.sdiag_family = static_cast<__u8>(here_.ss_family);
  request.about.sdiag_protocol = IPPROTO_TCP;
  request.about.idiag_ext = 1 << (INET_DIAG_INFO - 1);
  request.about.idiag_states = ~0U;
  // The source is the address of the far end, which is our destination.
  inet_diag_sockid& far_end = request.about.id;
  Put(there_, far_end.idiag_src, far_end.idiag_sport);
  Put(here_, far_end.idiag_dst, far_end.idiag_dport);
  far_end.idiag_cookie[0] = far_end.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (TEMP_FAILURE_RETRY(send(kernel_.fd(), &request, sizeof(request), 0)) <
      0) {
    return absl::ErrnoToStatus(errno, "send to sock_diag");
  }
  alignas(nlmsghdr) std::array<char, 4096> reply;
  const ssize_t got =
      TEMP_FAILURE_RETRY(recv(kernel_.fd(), reply.data(), reply.size(), 0));
  if (got < 0) return absl::ErrnoToStatus(errno, "recv from sock_diag");
  const auto* const header = reinterpret_cast<const nlmsghdr*>(reply.data());
  if (!NLMSG_OK(header, static_cast<size_t>(got))) {
    return absl::InternalError("sock_diag sent half a message");
  }
  if (header->nlmsg_type != NLMSG_ERROR) return ReplySaysRead(*header, bytes);
  const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
  if (error == ENOENT) return true;
  return absl::ErrnoToStatus(error, "sock_diag");
}

}  // namespace brood::testing
