// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_UNIX_FILE_UNIX_DIAG_H_
#define BROOD_NET_UNIX_FILE_UNIX_DIAG_H_

#include <cstdint>

#include "absl/types/optional.h"

namespace brood::net {

// UnixSocketState is what the kernel reports about a unix socket (sock_diag).
//
// A value. In the parent.
//
// Example:
//   const absl::optional<UnixSocketState> state = AskAboutUnixSocket(fd);
//   if (state && state->file) Compare(*state->file);
struct UnixSocketState {
  // BoundFile identifies the file that bind() created, even if it was removed:
  // the number is not used again while the socket exists.
  struct BoundFile {
    // The low 32 bits of the number of the inode.
    uint32_t inode;
    // The device of the file system.
    unsigned major, minor;
  };

  // The file that the socket is bound to; none for an abstract name.
  absl::optional<BoundFile> file;
  // Of a listening socket: how many connections wait in its queue.
  int queued = 0;
  // Of a listening socket: the argument of listen(), as the kernel limited it.
  int backlog = 0;
};

// Returns the state of the unix socket `fd`; nothing if the kernel does not
// report it: the process may not use AF_NETLINK, the kernel was built without
// CONFIG_UNIX_DIAG, or the socket is of another network namespace.
absl::optional<UnixSocketState> AskAboutUnixSocket(int fd);

}  // namespace brood::net

#endif  // BROOD_NET_UNIX_FILE_UNIX_DIAG_H_
