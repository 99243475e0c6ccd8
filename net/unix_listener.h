// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_UNIX_LISTENER_H_
#define BROOD_NET_UNIX_LISTENER_H_

#include <sys/types.h>

#include "absl/status/status.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"

namespace brood::net {

// Binds `socket` to the unix socket `endpoint`, and listens. The file, if the
// endpoint has one, has the permissions `mode`, whatever the umask, and never
// has more. For Listener, in the parent.
//
// The file outlives its server. The next server removes it when it starts, if
// no process answers there; it is not removed at the end, because a server that
// stops cannot know whether the file is already that of a later server. Servers
// that start at the same moment take turns by a lock on the directory (flock).
// Otherwise one would remove the file of another that has bound it and does not
// answer yet. If another process keeps the lock for a second, or this process
// may not read the directory, the socket is bound without the lock.
//
// Errors, naming the call and the endpoint: AlreadyExists if the file is not a
// socket, which is never removed; the status of EADDRINUSE if a process answers
// there (which sees a connection that ends at once); otherwise the errno of the
// call.
//
// Example:
//   Socket socket = Socket::Adopt(socket(AF_UNIX, SOCK_STREAM, 0));
//   absl::Status listening = ListenOnUnix(socket, endpoint, 0600, backlog);
absl::Status ListenOnUnix(const Socket& socket, const Endpoint& endpoint,
                          mode_t mode, int backlog);

// Returns how many connections wait in the queue of the listening unix socket
// `fd`. If the kernel does not report it (sock_diag), returns 4096, the default
// length of a queue: a caller that drains the queue must not stop too early.
int QueuedOnUnix(int fd);

}  // namespace brood::net

#endif  // BROOD_NET_UNIX_LISTENER_H_
