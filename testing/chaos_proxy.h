// SPDX-License-Identifier: Apache-2.0

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

// ChaosPlan is what a ChaosProxy does to each connection. A value; offsets and
// sizes are in bytes.
struct ChaosPlan {
  // Direction is what the proxy does to one direction of a connection.
  struct Direction {
    // The offsets at which the stream is cut, in ascending order.
    std::vector<uint64_t> splits;
    // The size of the longest piece; longer ones are cut. 0: no limit.
    size_t max_piece = 0;
    // How long after a piece was read the next one is sent.
    absl::Duration delay;
    // The offset at which both ends of the connection are reset, if it is set,
    // when the bytes before it were read.
    absl::optional<uint64_t> reset_after;
  };

  // What is done to the bytes that clients send.
  Direction to_server;
  // What is done to the bytes that the server sends.
  Direction to_client;

  // Returns a random plan, always the same for the same `seed`, for streams of
  // about `to_server_bytes` and `to_client_bytes`. Two of three plans reset
  // nothing. Print the plan, or the seed, when a test fails.
  static ChaosPlan Random(uint64_t seed, uint64_t to_server_bytes,
                          uint64_t to_client_bytes);

  // Reports whether the plan resets connections.
  bool resets() const {
    return to_server.reset_after.has_value() ||
           to_client.reset_after.has_value();
  }
  // Returns a text such as "to server: split after 3,9, delay 1ms; to client:
  // reset after 12".
  std::string ToString() const;
};
// Prints plan.ToString().
std::ostream& operator<<(std::ostream& stream, const ChaosPlan& plan);

// Example of a test with a ChaosProxy:
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

// ChaosProxy is a bad network between TCP clients and a server on this machine.
//
//   TestClient ──▶ ChaosProxy (a thread of the test process) ──▶ TestServer
//              ◀──                                           ◀──
//
// For handlers that treat a read as a message, which work until a network cuts
// the stream elsewhere. The proxy cuts it where the plan says, waits between
// the pieces, or resets the connection, in either direction. No read can return
// bytes of both sides of a cut: the proxy sends the bytes behind a cut only
// when the receiver has read all bytes before it (internal/peer_progress.h).
//
// The plan holds for every connection; make a second proxy for a second plan.
// Bytes, ends of streams and resets pass in order. An end of a stream leaves
// the other direction open. A receiver that does not read delays all that
// follows, without a limit.
//
// Start the server first: it is forked from the test process, and would inherit
// the proxy's sockets. Owns a thread, until the destructor, which resets the
// connections that are still open.
class ChaosProxy {
 public:
  // Returns OK if a proxy can run on this machine, and Unimplemented if the
  // kernel cannot report what the other end of a connection has read.
  static absl::Status Supported();

  // Starts a proxy that connects its clients to `server`. Returns the errors of
  // Supported() and of net::Listener::Listen(). A client is reset if the server
  // cannot be reached.
  static absl::StatusOr<std::unique_ptr<ChaosProxy>> Start(
      const net::Endpoint& server, ChaosPlan plan);
  ChaosProxy(const ChaosProxy&) = delete;
  ChaosProxy& operator=(const ChaosProxy&) = delete;
  // Resets the connections that are still open, and ends the thread.
  ~ChaosProxy();

  // Returns the address that clients connect to.
  const net::Endpoint& endpoint() const { return endpoint_; }

 private:
  // Starts the thread, which runs until the eventfd `stop` is readable.
  ChaosProxy(const net::Endpoint& server, ChaosPlan plan,
             std::unique_ptr<net::Listener> listener, net::Socket stop);
  // Runs in the thread: accepts clients and relays their bytes as the plan
  // requires. Resets all connections at its end.
  void Run();

  const net::Endpoint server_;
  const ChaosPlan plan_;
  const std::unique_ptr<net::Listener> listener_;
  const net::Endpoint endpoint_;
  const net::Socket stop_;  // an eventfd, readable when the thread must end
  std::thread thread_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_CHAOS_PROXY_H_
