// SPDX-License-Identifier: Apache-2.0

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

// TestClient is a TCP or unix socket client each of whose calls has a timeout.
//
// Lives in the test process. A resource: moved, never copied, so that a test
// can hold hundreds; the destructor closes the connection. Each call waits for
// `timeout` at most; the default is long enough for a busy machine. No call
// raises SIGPIPE. Only Send() and the reads may run in two threads at once.
//
// Errors, with the name of the call:
//   DeadlineExceeded    the timeout passed
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
class TestClient {
 public:
  // The timeout of a client that is given no other.
  static constexpr absl::Duration kTimeout = absl::Seconds(10);

  // Connects to `server`. `timeout` is for this call, and for each later one.
  static absl::StatusOr<TestClient> Connect(const net::Endpoint& server,
                                            absl::Duration timeout = kTimeout);
  // Takes ownership of a connected socket, which may be blocking or not.
  static TestClient Adopt(net::Socket socket,
                          absl::Duration timeout = kTimeout) {
    return TestClient(std::move(socket), timeout);
  }

  // Sends all of `bytes`.
  absl::Status Send(absl::string_view bytes);
  // Reads exactly `size` bytes and returns them.
  absl::StatusOr<std::string> ReadExactly(size_t size);
  // Reads until the server ends its side, and returns all bytes.
  absl::StatusOr<std::string> ReadUntilEof();
  // Ends the stream to the server; its replies can still be read.
  absl::Status ShutdownWrite();

  // Reads as many bytes as `expected` has, and returns an error if they differ.
  absl::Status ExpectReply(absl::string_view expected);
  // Waits until the server ends its side, and returns an error if bytes come
  // before that.
  absl::Status ExpectEof();
  // Waits until the server resets the connection. Bytes may come before that.
  absl::Status ExpectReset();
  // Sends `bytes` and expects the same bytes as the reply.
  absl::Status Echo(absl::string_view bytes);

  // Closes the connection. If bytes are unread, the kernel resets it.
  void Close() { socket_.Close(); }
  // Resets the connection, whether bytes are unread or unsent or not.
  void Reset();

  // Returns the socket, for what this class does not cover.
  const net::Socket& socket() const { return socket_; }
  // Returns the address of this end, which is the peer of the server.
  net::Endpoint endpoint() const;

 private:
  // Takes ownership of `socket`, which is connected.
  TestClient(net::Socket socket, absl::Duration timeout)
      : socket_(std::move(socket)), timeout_(timeout) {}

  // Returns when a call that begins now times out.
  net::Instant Deadline() const { return net::After(net::Now(), timeout_); }

  net::Socket socket_;
  absl::Duration timeout_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_TEST_CLIENT_H_
