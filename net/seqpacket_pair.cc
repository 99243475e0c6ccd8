// SPDX-License-Identifier: Apache-2.0

#include "brood/net/seqpacket_pair.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"

namespace brood::net {

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

}  // namespace brood::net
