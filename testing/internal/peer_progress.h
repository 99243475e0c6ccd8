// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_INTERNAL_PEER_PROGRESS_H_
#define BROOD_TESTING_INTERNAL_PEER_PROGRESS_H_

#include <sys/socket.h>

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/socket.h"

namespace brood::testing {

// PeerProgress is how much of what was sent on a TCP connection the process at
// its other end has read.
//
// "Sent" and even "acknowledged" mean only that bytes are in the queue of the
// other end, where later bytes may join them. The kernel reports for any
// connection on this machine how many bytes have come and how many of these are
// unread (sock_diag, which ss uses). A connection over loopback has both ends
// on this machine.
//
// Works in any process, on a connection of any process in the same network
// namespace. Owns a descriptor; moved, never copied. Nothing here waits. Errors
// are those of getsockname, getpeername and the netlink socket.
//
// Example:
//   absl::StatusOr<PeerProgress> client = PeerProgress::Of(connection.socket());
//   ASSERT_THAT(client, IsOk());
//   ASSERT_THAT(net::WriteFull(connection.socket(), "hello"), IsOk());
//   EXPECT_TRUE(Await([&] { return client->HasRead(5).value(); }));
class PeerProgress {
 public:
  // Returns OK, or Unimplemented if this kernel does not report TCP
  // connections: then every other end looks as if it had been closed.
  static absl::Status Supported();

  // Returns the progress of the other end of `near`, a TCP connection.
  static absl::StatusOr<PeerProgress> Of(const net::Socket& near);

  // Reports whether the other end has read `bytes` bytes since the connection
  // was made, or has been closed and will not read them.
  absl::StatusOr<bool> HasRead(uint64_t bytes);

 private:
  // Takes ownership of `kernel`, the netlink socket to ask. `here` is the near
  // end of the connection, and `there` the other one.
  PeerProgress(net::Socket kernel, const sockaddr_storage& here,
               const sockaddr_storage& there)
      : kernel_(std::move(kernel)), here_(here), there_(there) {}

  net::Socket kernel_;
  sockaddr_storage here_;
  sockaddr_storage there_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_INTERNAL_PEER_PROGRESS_H_
