// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_SEQPACKET_PAIR_H_
#define BROOD_NET_SEQPACKET_PAIR_H_

#include "absl/status/statusor.h"
#include "brood/net/socket.h"

namespace brood::net {

// SeqpacketPair: two unix sockets, connected to each other, that keep the
// boundaries of messages.
//
// Used by processes of this program that were forked from one another. Both
// sockets belong to the caller; they block, are close-on-exec and lie above the
// standard descriptors.
//
// Errors: Create() names the call: socketpair or fcntl.
//
// Example:
//   absl::StatusOr<SeqpacketPair> pair = SeqpacketPair::Create();
//   if (!pair.ok()) return pair.status();
//   send(pair->first.fd(), "ping", 4, MSG_NOSIGNAL);
struct SeqpacketPair {
  // Creates a connected pair.
  static absl::StatusOr<SeqpacketPair> Create();

  // One end of the pair.
  Socket first;
  // The other end.
  Socket second;
};

}  // namespace brood::net

#endif  // BROOD_NET_SEQPACKET_PAIR_H_
