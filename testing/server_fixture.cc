#include "brood/testing/server_fixture.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "brood/testing/status_matchers.h"
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
  EXPECT_THAT(CheckClean(report), IsOk()) << "its log:\n" << report.log;
}

}  // namespace brood::testing
