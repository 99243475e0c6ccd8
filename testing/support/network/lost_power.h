// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_NETWORK_LOST_POWER_H_
#define BROOD_TESTING_SUPPORT_NETWORK_LOST_POWER_H_

#include <linux/filter.h>
#include <sys/socket.h>

namespace brood::testing {

// Drops every segment that arrives at the TCP socket `fd` from now on: for its
// peer, this machine has lost its power. Returns 0, or -1 with errno.
inline int LosePower(int fd) {
  sock_filter drop[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  const sock_fprog program = {1, drop};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                    sizeof(program));
}

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_NETWORK_LOST_POWER_H_
