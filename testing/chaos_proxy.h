// SPDX-License-Identifier: Apache-2.0

// ChaosProxy: a bad network between a client and its server.
//
// TCP is a stream of bytes, and where a read ends is chance; a handler that
// takes a read for a message works on loopback for ever, and fails elsewhere.
// The proxy makes chance a plan: it cuts the stream where the plan says, waits
// between the pieces, and resets the connection in the middle, in either
// direction.
//
//   TestClient ──▶ ChaosProxy (a thread of the test process) ──▶ TestServer
//              ◀──                                           ◀──
//
// Cut means that one read can't see both sides of it: what follows is not sent
// before the process at the far end has read all of what came before (the
// kernel tells: far_end.h), so nothing depends on how long that takes. For
// this the clients and the server must be on this machine, by TCP.
//
// Everything passes in order: bytes, then an end of the stream (which leaves
// the other direction open) or a reset. A reader who does not read delays all
// that is behind it, without limit, as a network does.
//
// Every connection is treated alike, by the one plan; for another plan make
// another proxy, which costs a thread and a socket. Start the server first: it
// is forked from the test, and would inherit the proxy's sockets. Owns the
// thread, which lives until the destructor; that resets what is still open.
//
// Errors: Start() gives those of Listener::Listen(), and Unimplemented where
// the kernel can't tell what was read (Supported() says so beforehand). If the
// server can't be reached, the client is reset.
//
// Example:
//   ChaosPlan plan;
//   plan.to_server.splits = {3};  // "hel", then "lo"
//   plan.to_client.max_piece = 1;
//   plan.to_client.delay = absl::Milliseconds(1);
//   absl::StatusOr<std::unique_ptr<ChaosProxy>> proxy =
//       ChaosProxy::Start(server.endpoint(), plan);
//   ASSERT_THAT(proxy, IsOk());
//   auto client = TestClient::Connect((*proxy)->endpoint());
//   ASSERT_THAT(client, IsOk());
//   EXPECT_THAT(client->Echo("hello"), IsOk());

#ifndef BROOD_TESTING_CHAOS_PROXY_H_
#define BROOD_TESTING_CHAOS_PROXY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"

namespace brood::net {
class Listener;
}

namespace brood::testing {

// A value; offsets and sizes are in bytes.
struct ChaosPlan {
  // What becomes of one direction of a connection.
  struct Direction {
    // The stream is cut after the first so many bytes, in ascending order.
    std::vector<uint64_t> splits;
    // And so that no piece has more than these; 0 for no limit.
    size_t max_piece = 0;
    // How long after a piece was read the next one is sent.
    absl::Duration delay;
    // When so many bytes were read, both ends of the connection are reset.
    absl::optional<uint64_t> reset_after;
  };

  Direction to_server;
  Direction to_client;

  // One that is drawn from `seed`, always the same, for streams of about
  // `to_server_bytes` and `to_client_bytes`. Two of three reset nothing. Print
  // the plan, or the seed, when a test fails.
  static ChaosPlan Random(uint64_t seed, uint64_t to_server_bytes,
                          uint64_t to_client_bytes);

  bool resets() const {
    return to_server.reset_after.has_value() ||
           to_client.reset_after.has_value();
  }
  // "to server: split after 3,9, delay 1ms; to client: reset after 12".
  std::string ToString() const;
};
std::ostream& operator<<(std::ostream& stream, const ChaosPlan& plan);

class ChaosProxy {
 public:
  // Whether this machine can run one; OK, or why not.
  static absl::Status Supported();

  static absl::StatusOr<std::unique_ptr<ChaosProxy>> Start(
      const net::Endpoint& server, ChaosPlan plan);
  ChaosProxy(const ChaosProxy&) = delete;
  ChaosProxy& operator=(const ChaosProxy&) = delete;
  ~ChaosProxy();

  // Where clients connect to.
  const net::Endpoint& endpoint() const { return endpoint_; }

 private:
  ChaosProxy(const net::Endpoint& server, ChaosPlan plan,
             std::unique_ptr<net::Listener> listener, net::Socket stop);
  void Run();

  const net::Endpoint server_;
  const ChaosPlan plan_;
  const std::unique_ptr<net::Listener> listener_;
  const net::Endpoint endpoint_;
  const net::Socket stop_;  // an eventfd, readable at the end
  std::thread thread_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_CHAOS_PROXY_H_
