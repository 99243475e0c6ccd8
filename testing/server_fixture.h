// SPDX-License-Identifier: Apache-2.0

// ServerTest: the fixture of tests that talk to a whole server.
//
// Each test is a census in itself: of the test process (LeakCheck), and, by
// StopAndExpectClean(), of the server process, its children and its account.
// Lives in the test process, and owns nothing: a server is the test's, and is
// stopped at the latest when that ends. Errors fail the test.
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

// That a server ended as it should: exit code 0, every connection with exactly
// one fate, none running, nothing left behind in its process.
// FailedPrecondition says what is wrong.
absl::Status CheckClean(const TestServer::Report& report);

class ServerTest : public LeakCheck {
 protected:
  // Returns when the server serves, so that the child which it creates at its
  // start is gone; where Setup::run or the log is not the usual one, before.
  // Never null and never an error: the test ends, failed, if there is no
  // server or no connection.
  std::unique_ptr<TestServer> StartServer(
      TestServer::Setup setup = TestServer::Setup());
  TestClient ConnectTo(const TestServer& server,
                       absl::Duration patience = TestClient::kPatience);
  // Connects `count` clients, one after the other.
  std::vector<TestClient> ConnectMany(const TestServer& server, int count);

  // Stops the server, and expects all that ExpectClean() does.
  TestServer::Report StopAndExpectClean(TestServer& server);
  // That CheckClean() has no complaint.
  void ExpectClean(const TestServer::Report& report);
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SERVER_FIXTURE_H_
