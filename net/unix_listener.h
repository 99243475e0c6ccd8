// SPDX-License-Identifier: Apache-2.0

// What it takes to listen on a unix socket that has a file.
//
// For Listener, in the parent. The file is the socket's name and its lock: who
// may write to it may connect. It outlives its server, so the next one finds
// it; it is removed then, if nobody answers there, and not at the end: a server
// that stops can't know whether the file is its own, or already that of its
// successor. Two servers that start at the same moment take turns, by a lock on
// the directory (flock), so that none takes the other's file, which is not
// answered yet, for one that was left behind.
//
// Errors, naming the call and the endpoint: AlreadyExists if the file is not a
// socket, which is never removed; the errno of EADDRINUSE if somebody answers
// there (who sees a connection that ends at once); that of any other call. If
// another process has the directory's lock for a second, or this one may not
// read the directory, the socket is bound without it.
//
// Example:
//   Socket socket = Socket::Adopt(socket(AF_UNIX, SOCK_STREAM, 0));
//   absl::Status listening = ListenOnUnix(socket, endpoint, 0600, backlog);

#ifndef BROOD_NET_UNIX_LISTENER_H_
#define BROOD_NET_UNIX_LISTENER_H_

#include <sys/types.h>

#include "absl/status/status.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"

namespace brood::net {

// Binds and listens. The file, if the endpoint has one, never has more
// permissions than `mode`, whatever the umask, and in the end it has these.
absl::Status ListenOnUnix(const Socket& socket, const Endpoint& endpoint,
                          mode_t mode, int backlog);

// How many connections wait in the queue of the unix socket `fd`. If the kernel
// can't tell (sock_diag): as many as a queue holds where nobody changed it, for
// it is asked by who must not forget one.
int QueuedOnUnix(int fd);

}  // namespace brood::net

#endif  // BROOD_NET_UNIX_LISTENER_H_
