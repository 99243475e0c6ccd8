// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_HANDLER_RUN_H_
#define BROOD_TESTING_HANDLER_RUN_H_

#include <future>

#include "absl/time/time.h"
#include "brood/server/handler.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/test_client.h"

namespace brood::testing {

// HandlerRun is one run of a handler without a server, with the client that it
// serves.
//
// For unit tests of handlers. The handler gets a connection over loopback, as
// in a child, but runs in a thread of the test process: it can share variables
// and expectations with the test, and a debugger sees both. A crash or an exit
// would be that of the test; handlers that do so need a TestServer. When the
// handler returns, the connection is closed at once. (A server would first
// discard what the client still sends; here, unread bytes cause a reset.)
//
// A resource, neither copied nor moved, for use by one thread. The destructor
// closes the client and waits for the handler, which should end then.
//
// Example:
//   HandlerRun run(Greet);
//   EXPECT_THAT(run.client().ReadUntilEof(), IsOkAndHolds("hello\n"));
//   EXPECT_EQ(run.code(), ExitCode::kServed);
class HandlerRun {
 public:
  // Starts the handler. `timeout` is that of the client, and of code(). Throws
  // if there is no connection; GoogleTest reports that and ends the test.
  explicit HandlerRun(server::Handler handler,
                      absl::Duration timeout = TestClient::kTimeout);
  HandlerRun(const HandlerRun&) = delete;
  HandlerRun& operator=(const HandlerRun&) = delete;

  // Returns the client, which belongs to this object.
  TestClient& client() { return client_; }

  // Waits until the handler has ended, and returns what it returned, or throws
  // what it threw. If it does not end within `timeout`, the test fails, and the
  // client resets the connection so that the handler ends.
  server::ExitCode code();

 private:
  // Starts the handler in a thread, with one end of `pair`. The client is the
  // other end.
  HandlerRun(ConnectionPair pair, server::Handler handler,
             absl::Duration timeout);

  const absl::Duration timeout_;
  // Before client_, so that it is destroyed after it: its destructor waits for
  // the handler, which may end only when the client is closed.
  std::shared_future<server::ExitCode> code_;
  TestClient client_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_HANDLER_RUN_H_
