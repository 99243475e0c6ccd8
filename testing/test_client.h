// SPDX-License-Identifier: Apache-2.0

// TestClient: a TCP client that never waits longer than its patience.
//
// Lives in the test process. A resource: moved, never copied, so that a test
// can hold hundreds; destroying one closes it. Each call that waits does so for
// the client's patience (10 s unless told otherwise), which is long enough
// never to pass on a busy machine. No call raises SIGPIPE. Not thread-safe, but
// that one thread may Send() while another one reads.
//
// Errors, naming the call:
//   DeadlineExceeded    the server did not do it in time
//   Unavailable         the connection was reset or refused
//   OutOfRange          the stream ended early
//   FailedPrecondition  an Expect... call got something else, which is quoted
//
// Example:
//   absl::StatusOr<TestClient> client = TestClient::Connect(server.endpoint());
//   ASSERT_THAT(client, IsOk());
//   EXPECT_THAT(client->Send("hello"), IsOk());
//   EXPECT_THAT(client->ExpectReply("hello"), IsOk());
//   EXPECT_THAT(client->ShutdownWrite(), IsOk());
//   EXPECT_THAT(client->ExpectEof(), IsOk());

#ifndef BROOD_TESTING_TEST_CLIENT_H_
#define BROOD_TESTING_TEST_CLIENT_H_

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"

namespace brood::testing {

class TestClient {
 public:
  static constexpr absl::Duration kPatience = absl::Seconds(10);

  static absl::StatusOr<TestClient> Connect(
      const net::Endpoint& server, absl::Duration patience = kPatience);
  // Takes ownership of a socket that is connected; whether it blocks does not
  // matter.
  static TestClient Adopt(net::Socket socket,
                          absl::Duration patience = kPatience) {
    return TestClient(std::move(socket), patience);
  }

  absl::Status Send(absl::string_view bytes);
  // Exactly `size` bytes.
  absl::StatusOr<std::string> ReadExactly(size_t size);
  // Everything until the server ends its side.
  absl::StatusOr<std::string> ReadUntilEof();
  // Tells the server that no more will come; its replies can still be read.
  absl::Status ShutdownWrite();

  // What the server must do next: send exactly these bytes,
  absl::Status ExpectReply(absl::string_view expected);
  // end its side without another byte,
  absl::Status ExpectEof();
  // or reset the connection (bytes that came before that are no matter).
  absl::Status ExpectReset();
  // Sends `bytes` and waits until they come back.
  absl::Status Echo(absl::string_view bytes);

  // Closes; if bytes are unread, the kernel makes a reset of it.
  void Close() { socket_.Close(); }
  // Closes with a reset, whatever is unread or unsent.
  void Reset();

  // For what is not covered here.
  const net::Socket& socket() const { return socket_; }
  // This end of the connection: what the server calls the peer.
  net::Endpoint endpoint() const;

 private:
  TestClient(net::Socket socket, absl::Duration patience)
      : socket_(std::move(socket)), patience_(patience) {}

  net::Instant Deadline() const { return net::After(net::Now(), patience_); }

  net::Socket socket_;
  absl::Duration patience_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_TEST_CLIENT_H_
