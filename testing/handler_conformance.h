// SPDX-License-Identifier: Apache-2.0

// HandlerConformance: whether a handler is fit for the clients of this world.
//
// A suite for your own handlers, whatever they speak: give it a factory and a
// valid request, and it tries each client that real ones have met. Every claim
// has a server of its own, where the handler runs in real child processes, made
// by the strategy of your choice, so that a crash is the child's and is seen:
//
//   a client that        and then
//   closes at once, or with its reply unread     the handler ends
//   resets at once, or before its reply is read  the handler ends
//   resets in the middle of its request          the handler ends
//   half-closes after its request                it gets its whole reply
//   sends a byte at a time                       it gets the same reply
//   stays silent, and then goes, or asks         the handler waits, asleep, and
//                                                ends, or replies
//   sends without reading, and then goes         the handler ends
//   comes after many others                      it gets the same reply
//
// And each time: no child was ended by a signal, none said kHandlerFailed or
// kBug or threw (what a client does is no failure of the handler: there are
// kPeerLost, kProtocolError and numbers of your own), the next client is served
// and the server stops in order and leaves nothing behind.
//
// Lives in the test process, whose census is taken (see leak_check.h). A
// HandlerUnderTest is a value; its setup is copied for each server.
//
// Errors: the Check... functions give FailedPrecondition with every complaint
// and the server's log, or what TestServer::Start() gave.
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

struct HandlerUnderTest {
  // `name` is of letters, digits and underscores. `make` is called in the test
  // process, once for each server. `request` is all that a client has to say;
  // it may be empty for a handler that speaks unasked.
  HandlerUnderTest(std::string name, std::function<server::Handler()> make,
                   std::string request);

  std::string name;
  std::function<server::Handler()> make;
  std::string request;

  // What `request` is answered with, always. If it is not given, each server's
  // first client learns it, who half-closes only when the handler sleeps.
  absl::optional<std::string> reply;
  // For options, the strategy among them, and `before`. Its handler is not
  // used.
  TestServer::Setup setup;
  // How long a handler may take to reply, and to end when its client has gone.
  absl::Duration patience = TestClient::kPatience;
  // How long the silent client is silent: less than the handler's own patience
  // with a client, if it has any.
  absl::Duration silence = absl::Milliseconds(300);

  friend std::ostream& operator<<(std::ostream& os,
                                  const HandlerUnderTest& handler) {
    return os << handler.name;
  }
};

// The claims one by one, for whoever wants them outside the suite.
absl::Status CheckClosesAtOnce(const HandlerUnderTest& handler);
absl::Status CheckResetsAtOnce(const HandlerUnderTest& handler);
absl::Status CheckResetsInTheMiddle(const HandlerUnderTest& handler);
absl::Status CheckHalfCloses(const HandlerUnderTest& handler);
absl::Status CheckByteAtATime(const HandlerUnderTest& handler);
absl::Status CheckSilence(const HandlerUnderTest& handler);
absl::Status CheckFlood(const HandlerUnderTest& handler);
absl::Status CheckManyInARow(const HandlerUnderTest& handler);

class HandlerConformance
    : public LeakCheck,
      public ::testing::WithParamInterface<HandlerUnderTest> {
 public:
  // The last argument of INSTANTIATE_TEST_SUITE_P.
  static std::string NameOf(
      const ::testing::TestParamInfo<HandlerUnderTest>& info) {
    return info.param.name;
  }
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_HANDLER_CONFORMANCE_H_
