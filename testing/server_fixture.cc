// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/server_fixture.h"

#include <sys/types.h>
#include <sys/wait.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "brood/server/log_level.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/observe.h"
#include "gmock/gmock.h"

namespace brood::testing {
namespace {

// Returns the value, or throws: GoogleTest reports that and ends the test.
template <typename T>
T ValueOrEndTest(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(value.status().ToString());
  return *std::move(value);
}

// Reports whether the server process calls Run() at once, and logs to our pipe.
bool LogsThatItListens(const TestServer::Setup& setup) {
  using Function = absl::Status (*)(server::TcpServer&);
  const Function* const run = setup.run.target<Function>();
  return run != nullptr && *run == TestServer::Setup::RunServer &&
         setup.stderr_fd < 0 && setup.options.log.sink == nullptr &&
         setup.options.log.level == server::LogLevel::kInfo &&
         setup.options.log.format == server::LogFormat::kJson;
}

bool HasEnded(pid_t pid) {
  siginfo_t info = {};
  return waitid(P_PID, static_cast<id_t>(pid), &info,
                WEXITED | WNOHANG | WNOWAIT) != 0 ||
         info.si_pid != 0;
}

}  // namespace

absl::Status CheckClean(const TestServer::Report& report) {
  std::vector<std::string> complaints = report.leaks;
  if (!report.exit_status.exited() || report.exit_status.code() != 0) {
    complaints.push_back(
        absl::StrCat("the server process ", report.exit_status.ToString()));
  }
  if (!report.complete) {
    complaints.push_back("the server process did not report its totals");
  } else if (report.run_status != "OK") {
    complaints.push_back(absl::StrCat("Run() returned ", report.run_status));
  }
  if (!report.balanced) {
    complaints.push_back("a connection has no outcome, or two");
  }
  if (report.totals.running != 0) {
    complaints.push_back(
        absl::StrCat(report.totals.running, " connections still run"));
  }
  if (complaints.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrJoin(complaints, "\n"));
}

std::unique_ptr<TestServer> ServerTest::StartServer(TestServer::Setup setup) {
  const bool logs = LogsThatItListens(setup);
  auto server = ValueOrEndTest(TestServer::Start(std::move(setup)));
  // A server whose log is broken logs no such event.
  if (logs) {
    Await(
        [&] {
          return !EventsOf(server->log(), "listening").empty() ||
                 HasEnded(server->pid());
        },
        absl::Seconds(1));
  }
  return server;
}

TestClient ServerTest::ConnectTo(const TestServer& server,
                                 absl::Duration timeout) {
  return ValueOrEndTest(TestClient::Connect(server.endpoint(), timeout));
}

std::vector<TestClient> ServerTest::ConnectMany(const TestServer& server,
                                                int count) {
  std::vector<TestClient> clients;
  for (int i = 0; i < count; ++i) clients.push_back(ConnectTo(server));
  return clients;
}

TestServer::Report ServerTest::StopAndExpectClean(TestServer& server) {
  TestServer::Report report = server.Stop();
  ExpectClean(report);
  return report;
}

void ServerTest::ExpectClean(const TestServer::Report& report) {
  EXPECT_THAT(CheckClean(report), IsOk()) << "log of the server:\n"
                                          << report.log;
}

}  // namespace brood::testing
