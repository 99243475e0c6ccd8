// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SERVER_FIXTURE_H_
#define BROOD_TESTING_SERVER_FIXTURE_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/test_client.h"
#include "brood/testing/test_server.h"

namespace brood::testing {

// Checks that a server ended in order: with exit code 0, exactly one outcome
// for each connection, no connection running, and nothing left behind in its
// process. Returns FailedPrecondition with each complaint.
absl::Status CheckClean(const TestServer::Report& report);

// ServerTest is the fixture of tests that connect to a whole server.
//
// Takes a census of the test process (LeakCheck) and, by StopAndExpectClean(),
// of the server process with its children, and checks its totals. Lives in the
// test process and owns nothing: a server belongs to the test, and is stopped
// at its end at the latest. Errors fail the test.
//
// Example:
//   TEST_F(ServerTest, GivesBackWhatItIsSent) {
//     auto server = StartServer();
//     TestClient client = ConnectTo(*server);
//     EXPECT_THAT(client.Echo("hello"), IsOk());
//     client.Close();
//     EXPECT_THAT(server->AwaitEvent("ended"), IsOk());
//     StopAndExpectClean(*server);
//   }
class ServerTest : public LeakCheck {
 protected:
  // Starts a server and waits for its event "listening": the child that a
  // server creates at its start has ended by then. Does not wait if Setup::run
  // or the log is not the default. Never returns null: if there is no server,
  // throws, and the test ends as failed.
  std::unique_ptr<TestServer> StartServer(
      TestServer::Setup setup = TestServer::Setup());
  // Connects a client. If that fails, throws, and the test ends as failed.
  TestClient ConnectTo(const TestServer& server,
                       absl::Duration timeout = TestClient::kTimeout);
  // Connects `count` clients, one after the other, and returns them.
  std::vector<TestClient> ConnectMany(const TestServer& server, int count);

  // Stops the server, calls ExpectClean() and returns the report.
  TestServer::Report StopAndExpectClean(TestServer& server);
  // Fails the test if CheckClean() has a complaint.
  void ExpectClean(const TestServer::Report& report);
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SERVER_FIXTURE_H_
