#include "brood/testing/server_fixture.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"

namespace brood::testing {
namespace {

// GoogleTest reports it, and ends the test.
template <typename T>
T ValueOrEndTest(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(value.status().ToString());
  return *std::move(value);
}

}  // namespace

std::unique_ptr<TestServer> ServerTest::StartServer(TestServer::Setup setup) {
  return ValueOrEndTest(TestServer::Start(std::move(setup)));
}

TestClient ServerTest::ConnectTo(const TestServer& server,
                                 absl::Duration patience) {
  return ValueOrEndTest(TestClient::Connect(server.endpoint(), patience));
}

TestServer::Report ServerTest::StopAndExpectClean(TestServer& server) {
  TestServer::Report report = server.Stop();
  ExpectClean(report);
  return report;
}

void ServerTest::ExpectClean(const TestServer::Report& report) {
  SCOPED_TRACE("its log:\n" + report.log);
  EXPECT_TRUE(report.exit_status.exited() && report.exit_status.code() == 0)
      << "the server process " << report.exit_status.ToString();
  EXPECT_TRUE(report.complete) << "it did not tell its account";
  EXPECT_EQ(report.run_status, "OK");
  EXPECT_TRUE(report.balanced) << "a connection has no fate, or two";
  EXPECT_EQ(report.totals.running, 0u);
  EXPECT_THAT(report.leaks, ::testing::IsEmpty());
}

}  // namespace brood::testing
