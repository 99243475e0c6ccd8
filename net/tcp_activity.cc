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
#include <cstring>

#include "absl/status/status.h"

namespace brood::net {
namespace {

struct Question {
  nlmsghdr header;
  inet_diag_req_v2 request;
};

void SetAddresses(const PeerAddress& local, const PeerAddress& peer,
                  inet_diag_sockid* id) {
  id->idiag_sport = htons(local.port());
  id->idiag_dport = htons(peer.port());
  std::memcpy(id->idiag_src, local.host().data(), local.host().size());
  std::memcpy(id->idiag_dst, peer.host().data(), peer.host().size());
  if (peer.is_ipv6()) {
    const auto* to = reinterpret_cast<const sockaddr_in6*>(peer.address());
    id->idiag_if = to->sin6_scope_id;
  }
  id->idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

// The tcp_info in an answer of `size` bytes.
absl::StatusOr<tcp_info> FindInfo(const char* bytes, size_t size) {
  nlmsghdr header;
  if (size < sizeof(header)) return absl::InternalError("sock_diag: too short");
  std::memcpy(&header, bytes, sizeof(header));
  if (header.nlmsg_type == NLMSG_ERROR) {
    nlmsgerr error;
    if (size < NLMSG_LENGTH(sizeof(error))) {
      return absl::InternalError("sock_diag: too short");
    }
    std::memcpy(&error, bytes + NLMSG_HDRLEN, sizeof(error));
    return absl::ErrnoToStatus(-error.error, "sock_diag");
  }
  size_t place = NLMSG_LENGTH(sizeof(inet_diag_msg));
  const size_t end = std::min<size_t>(size, header.nlmsg_len);
  rtattr attribute;
  while (place + sizeof(attribute) <= end) {
    std::memcpy(&attribute, bytes + place, sizeof(attribute));
    if (attribute.rta_len < sizeof(attribute)) break;
    if (attribute.rta_type == INET_DIAG_INFO) {
      // Kernels differ in how much of it they know.
      tcp_info info = {};
      const size_t length =
          std::min({sizeof(info), attribute.rta_len - sizeof(attribute),
                    end - place - sizeof(attribute)});
      std::memcpy(&info, bytes + place + sizeof(attribute), length);
      return info;
    }
    place += RTA_ALIGN(attribute.rta_len);
  }
  return absl::NotFoundError("sock_diag: the connection has ended");
}

}  // namespace

absl::StatusOr<TcpActivity> TcpActivity::Create() {
  Socket socket = Socket::AboveStandardDescriptors(Socket::Adopt(
      ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)));
  if (!socket.valid()) {
    return absl::ErrnoToStatus(errno, "socket NETLINK_SOCK_DIAG");
  }
  return TcpActivity(std::move(socket));
}

absl::StatusOr<TcpActivity::Answer> TcpActivity::Ask(
    const PeerAddress& local, const PeerAddress& peer) const {
  Question question = {};
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.request.sdiag_family = peer.is_ipv6() ? AF_INET6 : AF_INET;
  question.request.sdiag_protocol = IPPROTO_TCP;
  question.request.idiag_ext = 1 << (INET_DIAG_INFO - 1);
  question.request.idiag_states = ~0U;
  SetAddresses(local, peer, &question.request.id);
  if (TEMP_FAILURE_RETRY(send(socket_.fd(), &question, sizeof(question), 0)) <
      0) {
    return absl::ErrnoToStatus(errno, "send to sock_diag");
  }
  alignas(nlmsghdr) char answer[4096];
  const ssize_t size = TEMP_FAILURE_RETRY(
      recv(socket_.fd(), answer, sizeof(answer), MSG_DONTWAIT));
  if (size < 0) return absl::ErrnoToStatus(errno, "recv from sock_diag");
  const absl::StatusOr<tcp_info> info =
      FindInfo(answer, static_cast<size_t>(size));
  if (!info.ok()) return info.status();
  return Answer{info->tcpi_bytes_received,
                absl::Milliseconds(std::min(info->tcpi_last_data_recv,
                                            info->tcpi_last_data_sent)),
                info->tcpi_bytes_acked,
                info->tcpi_unacked > 0 || info->tcpi_notsent_bytes > 0};
}

}  // namespace brood::net
