// SPDX-License-Identifier: Apache-2.0

// Checks a handoff queue with any message: the message is refused, or it is a
// connection between two addresses; and no descriptor of the message is leaked.

#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/peer_address.h"
#include "brood/testing/fuzz/require.h"

namespace {

using brood::net::Endpoint;
using brood::net::HandoffBytes;
using brood::net::HandoffQueue;
using brood::net::PeerAddress;
using brood::testing::LowestFreeFd;
using brood::testing::Require;

void RequireAddress(const PeerAddress& address) {
  // The text of the address can be parsed, unless it is an end of a unix
  // connection; an interface is not part of the text.
  const std::string text = address.ToString();
  Require(Endpoint::Parse(text).ok() || text == "unix:",
          "an address of a message has a text");
  Require(PeerAddress::FromBytes(address.ToBytes()) == address,
          "an address of a message has one form");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  for (const bool with_descriptor : {false, true}) {
    const absl::StatusOr<HandoffBytes> decoded =
        HandoffBytes::Decode(text, with_descriptor);
    if (!decoded.ok()) {
      Require(absl::IsInvalidArgument(decoded.status()),
              "bytes that are not a message are an InvalidArgument");
      continue;
    }
    Require(decoded->has_connection() == with_descriptor,
            "a message has a connection if it has a descriptor");
    RequireAddress(decoded->peer);
    RequireAddress(decoded->local_address);
  }

  // The same through a socket, where zero bytes and too many bytes are special
  // cases.
  static const absl::StatusOr<HandoffQueue> queue = HandoffQueue::Create();
  Require(queue.ok(), "a queue can be created");
  const int lowest = LowestFreeFd();
  if (send(queue->fd_to_offer(), bytes, size, MSG_DONTWAIT) < 0) return 0;
  queue->TryAwait().status().IgnoreError();
  Require(LowestFreeFd() == lowest, "TryAwait() leaves no descriptor open");
  queue->TakeBack().status().IgnoreError();
  queue->Acknowledge();
  Require(LowestFreeFd() == lowest, "a message leaves no descriptor open");
  return 0;
}
