// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_HANDLER_CONFORMANCE_H_
#define BROOD_TESTING_HANDLER_CONFORMANCE_H_

#include <functional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/server/handler.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/test_client.h"
#include "brood/testing/test_server.h"
#include "gtest/gtest.h"

namespace brood::testing {

// HandlerUnderTest is a handler of yours, and what the suite HandlerConformance
// must know to test it.
//
// A value of the test process; `setup` is copied for each server.
//
// Example:
//   HandlerUnderTest Echo() {
//     HandlerUnderTest echo("Echo", [] { return EchoHandler(1024); }, "hello");
//     echo.reply = "hello";
//     echo.setup.options.max_connections = 10;
//     return echo;
//   }
//   INSTANTIATE_TEST_SUITE_P(Mine, HandlerConformance,
//                            ::testing::Values(Echo()),
//                            HandlerConformance::NameOf);
struct HandlerUnderTest {
  // Describes a handler. `name` consists of letters, digits and underscores.
  // `make` is called in the test process, once for each server, and returns the
  // handler. `request` is all that a client sends; it may be empty for a
  // handler that speaks first.
  HandlerUnderTest(std::string name, std::function<server::Handler()> make,
                   std::string request);

  // The first argument of the constructor.
  std::string name;
  // The second argument of the constructor.
  std::function<server::Handler()> make;
  // The third argument of the constructor.
  std::string request;

  // What every client must get for `request`. If it is not set, it is what the
  // first client of each server gets, which half-closes its connection only
  // when the handler sleeps.
  absl::optional<std::string> reply;
  // The setup of the servers, for options such as the strategy, and for
  // `before`. Its handler is not used.
  TestServer::Setup setup;
  // How long a handler may take to reply, and to end after its client has
  // closed the connection. Default: 10 s.
  absl::Duration timeout = TestClient::kTimeout;
  // How long the silent client sends nothing. It must be less than the timeout
  // of the handler itself, if it has one. Default: 300 ms.
  absl::Duration silence = absl::Milliseconds(300);

  // Prints the name.
  friend std::ostream& operator<<(std::ostream& os,
                                  const HandlerUnderTest& handler) {
    return os << handler.name;
  }
};

// The functions below are the tests of the suite, for use outside of it. Each
// starts a server, and after its own clients has one more, which must get the
// reply. Each returns FailedPrecondition, with every complaint and the log of
// the server, or the error of TestServer::Start().

// Checks that the handler ends if a client closes its connection at once, or
// with the reply unread.
absl::Status CheckClosesAtOnce(const HandlerUnderTest& handler);
// Checks that the handler ends if a client resets its connection at once, when
// the handler sleeps, or with the reply unread.
absl::Status CheckResetsAtOnce(const HandlerUnderTest& handler);
// Checks that the handler ends if a client resets its connection in the middle
// of its request.
absl::Status CheckResetsInTheMiddle(const HandlerUnderTest& handler);
// Checks that a client gets the whole reply if it half-closes its connection
// after its request.
absl::Status CheckHalfCloses(const HandlerUnderTest& handler);
// Checks that a client gets the same reply if it sends a byte at a time.
absl::Status CheckByteAtATime(const HandlerUnderTest& handler);
// Checks that the handler sleeps while its client is silent, and then ends if
// the client closes its connection, or replies if it sends its request.
absl::Status CheckSilence(const HandlerUnderTest& handler);
// Checks that the handler ends if a client sends without reading, and then
// closes its connection.
absl::Status CheckFlood(const HandlerUnderTest& handler);
// Checks that 25 clients, one after the other, get the same reply.
absl::Status CheckManyInARow(const HandlerUnderTest& handler);

// HandlerConformance is a suite that tries a handler with each kind of client
// that real servers meet: the Check... functions above.
//
// Each test has a server of its own, where the handler runs in real child
// processes, which the strategy of the setup creates; so a crash is that of a
// child, and fails the test. A test also fails if
//   - a child was ended by a signal,
//   - the handler threw or returned kHandlerFailed or kBug: what a client does
//     is no failure of the handler, which has kPeerLost, kProtocolError and
//     numbers of its own for it,
//   - the next client is not served, or
//   - the server does not stop in order, or leaves something behind.
//
// Runs in the test process, which leaves nothing behind either (LeakCheck).
class HandlerConformance
    : public LeakCheck,
      public ::testing::WithParamInterface<HandlerUnderTest> {
 public:
  // Returns the name of the handler, for INSTANTIATE_TEST_SUITE_P.
  static std::string NameOf(
      const ::testing::TestParamInfo<HandlerUnderTest>& info) {
    return info.param.name;
  }
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_HANDLER_CONFORMANCE_H_
