// SPDX-License-Identifier: Apache-2.0

// PeerProgress: how much of what was sent on a connection its other end has
// read.
//
// "Sent" and even "acknowledged" say only that bytes lie in the other end's
// queue, where the next ones may join them. The kernel tells of any connection
// on this machine how much has come and how much of it is unread (sock_diag,
// which is how ss knows); a TCP connection over loopback has both ends here.
//
// Works in any process, on a connection of any process in the same network
// namespace. Owns a descriptor; moved, never copied. Nothing here waits.
//
// Errors: of getsockname, getpeername and of the conversation with the kernel,
// naming the call. To a kernel that can't tell every far end is gone; so ask
// Supported() first, which is Unimplemented there.
//
// Example:
//   absl::StatusOr<PeerProgress> client = PeerProgress::Of(connection.socket());
//   ASSERT_THAT(client, IsOk());
//   ASSERT_THAT(net::WriteFull(connection.socket(), "hello"), IsOk());
//   EXPECT_TRUE(Await([&] { return client->HasRead(5).value(); }));

#ifndef BROOD_TESTING_INTERNAL_PEER_PROGRESS_H_
#define BROOD_TESTING_INTERNAL_PEER_PROGRESS_H_

#include <sys/socket.h>

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/socket.h"

namespace brood::testing {

class PeerProgress {
 public:
  // Whether this machine can tell; OK, or why not.
  static absl::Status Supported();

  // The other end of `near`, a TCP connection.
  static absl::StatusOr<PeerProgress> Of(const net::Socket& near);

  // Whether it has read so many bytes since the connection began, or never will
  // because it is gone.
  absl::StatusOr<bool> HasRead(uint64_t bytes);

 private:
  PeerProgress(net::Socket kernel, const sockaddr_storage& here,
               const sockaddr_storage& there)
      : kernel_(std::move(kernel)), here_(here), there_(there) {}

  net::Socket kernel_;
  sockaddr_storage here_;
  sockaddr_storage there_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_INTERNAL_PEER_PROGRESS_H_
