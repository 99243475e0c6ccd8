// SPDX-License-Identifier: Apache-2.0

#include "brood/net/unix_file/unix_diag.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstring>

#include "brood/net/socket.h"

namespace brood::net {
namespace {

// How the kernel packs the device of a file system: 12 bits and 20.
constexpr unsigned kMinorBits = 20;
constexpr unsigned kMinorMask = (1U << kMinorBits) - 1;

// Copies the value of `attribute` to `*value` if it has the size for that.
template <typename Value>
bool Read(const rtattr* attribute, Value* value) {
  if (RTA_PAYLOAD(attribute) < sizeof(Value)) return false;
  std::memcpy(value, RTA_DATA(attribute), sizeof(Value));
  return true;
}

void ReadAttribute(const rtattr* attribute, UnixSocketState* state) {
  unix_diag_vfs file;
  unix_diag_rqlen lengths;
  if (attribute->rta_type == UNIX_DIAG_VFS && Read(attribute, &file)) {
    state->file = {file.udiag_vfs_ino, file.udiag_vfs_dev >> kMinorBits,
                   file.udiag_vfs_dev & kMinorMask};
  } else if (attribute->rta_type == UNIX_DIAG_RQLEN &&
             Read(attribute, &lengths)) {
    state->queued = static_cast<int>(lengths.udiag_rqueue);
    state->backlog = static_cast<int>(lengths.udiag_wqueue);
  }
}

}  // namespace

absl::optional<UnixSocketState> AskAboutUnixSocket(int fd) {
  struct stat socket_file;
  const Socket netlink = Socket::Adopt(
      socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink.valid() || fstat(fd, &socket_file) < 0) return absl::nullopt;
  struct {
    nlmsghdr header;
    unix_diag_req request;
  } question = {};
  question.header.nlmsg_len = sizeof(question);
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.request.sdiag_family = AF_UNIX;
  question.request.udiag_ino = static_cast<uint32_t>(socket_file.st_ino);
  question.request.udiag_states = ~0U;
  question.request.udiag_show = UDIAG_SHOW_RQLEN | UDIAG_SHOW_VFS;
  question.request.udiag_cookie[0] = ~0U;  // any
  question.request.udiag_cookie[1] = ~0U;
  struct {
    nlmsghdr header;
    unix_diag_msg about;
    char attributes[128];
  } answer = {};
  static_assert(sizeof(answer) == 160, "nothing between the parts");
  constexpr size_t kAttributesAt = offsetof(decltype(answer), attributes);
  if (send(netlink.fd(), &question, sizeof(question), 0) < 0) {
    return absl::nullopt;
  }
  const ssize_t size =
      recv(netlink.fd(), &answer, sizeof(answer), MSG_DONTWAIT);
  if (size < static_cast<ssize_t>(kAttributesAt) ||
      answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY) {
    return absl::nullopt;
  }
  UnixSocketState state;
  bool has_lengths = false;
  int left = static_cast<int>(size) - static_cast<int>(kAttributesAt);
  for (const auto* attribute =
           reinterpret_cast<const rtattr*>(answer.attributes);
       RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    has_lengths |= attribute->rta_type == UNIX_DIAG_RQLEN;
    ReadAttribute(attribute, &state);
  }
  if (!has_lengths) return absl::nullopt;
  return state;
}

}  // namespace brood::net
