// What holds for a hand-over whatever message comes: it is refused, or it is a
// connection between two endpoints; and no descriptor that came
// with it is left open.

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
#include "brood/testing/fuzz/require.h"

namespace {

using brood::net::Endpoint;
using brood::net::HandoffBytes;
using brood::net::HandoffQueue;
using brood::testing::LowestFreeFd;
using brood::testing::Require;

void RequireEndpoint(const Endpoint& endpoint) {
  // Any that can be parsed again, or a client on a unix socket; a scope is not
  // part of the text.
  const std::string text = endpoint.ToString();
  Require(Endpoint::Parse(text).ok() || text == "unix:",
          "an endpoint of a message is one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  for (const bool with_descriptor : {false, true}) {
    const absl::StatusOr<HandoffBytes> decoded =
        HandoffBytes::Decode(text, with_descriptor);
    if (!decoded.ok()) {
      Require(absl::IsInvalidArgument(decoded.status()),
              "what is no message is an invalid argument");
      continue;
    }
    Require(decoded->has_connection == with_descriptor,
            "a connection comes with a descriptor, and an order without");
    RequireEndpoint(decoded->peer);
    RequireEndpoint(decoded->local);
  }

  // The same through a socket, where zero bytes and many are other cases.
  static const absl::StatusOr<HandoffQueue> queue = HandoffQueue::Create();
  Require(queue.ok(), "there is a queue");
  const int lowest = LowestFreeFd();
  if (send(queue->fd_to_offer(), bytes, size, MSG_DONTWAIT) < 0) return 0;
  queue->TryAwait().status().IgnoreError();
  Require(LowestFreeFd() == lowest, "a look leaves nothing open");
  queue->TakeBack().status().IgnoreError();
  queue->Acknowledge();
  Require(LowestFreeFd() == lowest, "a message leaves nothing open");
  return 0;
}
