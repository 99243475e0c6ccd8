// SPDX-License-Identifier: Apache-2.0

// HandlerRun: one run of a handler without a server, and the client it serves.
//
// For unit tests of handlers. The handler gets a connection over loopback, as
// in a child, but runs in a thread of the test process: it can share variables
// and expectations with the test, and a debugger sees both. A crash or an exit
// would be the test's own; for these there is TestServer. When the handler
// returns, the connection is closed at once. (A server would first take what
// the client still sends; here, bytes that nobody has read make the end a
// reset.)
//
// A resource, neither copied nor moved. Destroying it closes the client, and
// waits for the handler, which should take that for its end. To be used by one
// thread.
//
// Errors: without a connection the constructor throws, and GoogleTest reports
// it and ends the test.
//
// Example:
//   HandlerRun run(Greet);
//   EXPECT_THAT(run.client().ReadUntilEof(), IsOkAndHolds("hello\n"));
//   EXPECT_EQ(run.code(), ExitCode::kServed);

#ifndef BROOD_TESTING_HANDLER_RUN_H_
#define BROOD_TESTING_HANDLER_RUN_H_

#include <future>

#include "absl/time/time.h"
#include "brood/server/handler.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/test_client.h"

namespace brood::testing {

class HandlerRun {
 public:
  // Starts. `patience` is the client's, and that of code().
  explicit HandlerRun(server::Handler handler,
                      absl::Duration patience = TestClient::kPatience);
  HandlerRun(const HandlerRun&) = delete;
  HandlerRun& operator=(const HandlerRun&) = delete;

  TestClient& client() { return client_; }

  // Waits for the handler's end, and gives what it ended with; throws what it
  // threw. If it does not end in time, the test fails, and the client resets
  // the connection so that it does.
  server::ExitCode code();

 private:
  HandlerRun(ConnectionPair pair, server::Handler handler,
             absl::Duration patience);

  const absl::Duration patience_;
  // In this order: its destructor waits for the handler, and the client must be
  // gone by then.
  std::shared_future<server::ExitCode> code_;
  TestClient client_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_HANDLER_RUN_H_
