// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/test_server.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>

#include "brood/testing/internal/proc_files.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/server_fixture.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using TestServerTest = ServerTest;

// Catches the failures of a test, as long as it exists.
class Intercepted {
 public:
  std::string text() const {
    std::string text;
    for (int i = 0; i < failures_.size(); ++i) {
      text += failures_.GetTestPartResult(i).message();
    }
    return text;
  }

 private:
  ::testing::TestPartResultArray failures_;
  ::testing::ScopedFakeTestPartResultReporter reporter_{&failures_};
};

TEST_F(TestServerTest, EchoesAndStopsWithNothingLeftBehind) {
  auto server = StartServer();
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.Echo("hello"), IsOk());
  EXPECT_THAT(client.ShutdownWrite(), IsOk());
  EXPECT_THAT(client.ExpectEof(), IsOk());
  EXPECT_THAT(server->AwaitEvent(
                  "ended", {{"brood.exit.code", 0}, {"brood.outcome", "ok"}}),
              IsOk());

  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.accepted, 1u);
  EXPECT_EQ(report.totals.ended_ok, 1u);
  EXPECT_EQ(report.log_lines_dropped, 0u);
  EXPECT_THAT(EventsOf(report.log, "stopped", {{"brood.accepted", 1}}),
              SizeIs(1));
}

TEST_F(TestServerTest, ListsTheServersChildrenWhileTheyLive) {
  auto server = StartServer();
  EXPECT_THAT(server->children(), IsEmpty());
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Echo("hello"), IsOk());
  EXPECT_THAT(server->children(), SizeIs(1));
  EXPECT_THAT(server->zombies(), IsEmpty());
  client.Close();
  ASSERT_THAT(server->AwaitEvent("ended"), IsOk());
  EXPECT_THAT(server->children(), IsEmpty());
  StopAndExpectClean(*server);
}

TEST_F(TestServerTest, ReturnsEachEventOnce) {
  auto server = StartServer();
  ConnectTo(*server).Close();
  const absl::StatusOr<LoggedEvent> forked = server->AwaitEvent("forked");
  ASSERT_THAT(forked, IsOk());
  EXPECT_EQ(forked->Number("brood.running"), 1);
  EXPECT_EQ(forked->Number("brood.cap"), 1000);
  EXPECT_THAT(
      server->AwaitEvent("forked", absl::ZeroDuration()),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("forked")));
  EXPECT_THAT(server->AwaitEvent("listening"), IsOk());
  StopAndExpectClean(*server);
  EXPECT_THAT(server->AwaitEvent("no-such-event"),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(TestServerTest, ReturnsEachLineOfAHandlerOnce) {
  TestServer::Setup setup;
  setup.handler = [](net::Connection&) {
    for (const absl::string_view line : {"one\n", "two\n", "one more\n"}) {
      EXPECT_EQ(write(STDERR_FILENO, line.data(), line.size()),
                static_cast<ssize_t>(line.size()));
    }
    return server::ExitCode::kServed;
  };
  auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).ExpectEof(), IsOk());
  EXPECT_THAT(server->AwaitLogLine("two"), IsOkAndHolds("two"));
  EXPECT_THAT(server->AwaitLogLines(2, "one"), IsOk());
  EXPECT_THAT(server->AwaitLogLine("one", absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(server->AwaitEvent("ended"), IsOk()) << "the lines are no events";
  StopAndExpectClean(*server);
}

TEST_F(TestServerTest, ReturnsTheErrorOfCreate) {
  TestServer::Setup setup;
  setup.options.max_connections = 0;
  EXPECT_THAT(TestServer::Start(std::move(setup)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("max_connections=0")));
}

TEST_F(TestServerTest, ReportsHowTheServerProcessDiedBeforeItWasReady) {
  TestServer::Setup setup;
  setup.before = [] { std::abort(); };
  EXPECT_THAT(TestServer::Start(std::move(setup)),
              StatusIs(absl::StatusCode::kInternal,
                       AllOf(HasSubstr("did not become ready"),
                             HasSubstr("killed by SIGABRT"))));
}

TEST_F(TestServerTest, ReportsALeakInTheServerProcess) {
  TestServer::Setup setup;
  setup.run = [](server::TcpServer& server) {
    EXPECT_GE(open("/dev/zero", O_RDONLY | O_CLOEXEC), 0);
    return server.Run();
  };
  auto server = StartServer(std::move(setup));
  EXPECT_NONFATAL_FAILURE(server->Stop(), "was left open: /dev/zero");
  EXPECT_THAT(server->Stop().leaks,
              ElementsAre(HasSubstr("was left open: /dev/zero")));
}

TEST_F(TestServerTest, ReportsAChildThatTheServerProcessLeft) {
  TestServer::Setup setup;
  pid_t* const stray = new pid_t(0);
  setup.after = [stray] {
    *stray = fork();
    if (*stray == 0) _exit(0);
  };
  auto server = StartServer(std::move(setup));
  EXPECT_NONFATAL_FAILURE(server->Stop(), "was left");
  EXPECT_THAT(server->Stop().leaks, ElementsAre(HasSubstr("was left")));
  delete stray;
}

TEST_F(TestServerTest, ReportsFailuresInTheServerProcess) {
  TestServer::Setup setup;
  setup.run = [](server::TcpServer& server) {
    EXPECT_EQ(1, 2) << "in run";
    return server.Run();
  };
  setup.handler = [](net::Connection&) {
    ADD_FAILURE() << "in a handler";
    return server::ExitCode::kServed;
  };
  setup.after = [] { throw std::runtime_error("in after"); };
  auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(client.ExpectEof(), IsOk());
  client.Close();
  std::string failures;
  {
    Intercepted intercepted;
    EXPECT_FALSE(server->Stop().complete);
    failures = intercepted.text();
  }
  EXPECT_THAT(failures, AllOf(HasSubstr("in run"), HasSubstr("in a handler"),
                              HasSubstr("in after")));
}

TEST_F(TestServerTest, DescribesAndKillsAServerThatHangs) {
  TestServer::Setup setup;
  setup.options.drain_grace = absl::ZeroDuration();
  setup.stop_margin = absl::Milliseconds(200);
  setup.run = [](server::TcpServer& server) -> absl::Status {
    while (server.totals().accepted == 0) {
      absl::StatusOr<bool> goes_on = server.Step(absl::InfiniteDuration());
      if (!goes_on.ok()) return goes_on.status();
    }
    for (;;) pause();
  };
  auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Echo("hello"), IsOk());
  std::string failures;
  TestServer::Report report;
  {
    Intercepted intercepted;
    report = server->Stop();
    failures = intercepted.text();
  }
  EXPECT_THAT(failures,
              AllOf(HasSubstr("did not end within 200ms"),
                    HasSubstr("server process: pid"), HasSubstr("state S"),
                    HasSubstr("descendant: pid"), HasSubstr("forked pid")));
  EXPECT_TRUE(report.exit_status.killed());
  // The child that had the other end was killed too.
  EXPECT_THAT(client.ExpectEof(), IsOk());
}

TEST_F(TestServerTest, KillsTheServerProcessAloneUntilItIsDestroyed) {
  auto server = StartServer();
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Echo("hello"), IsOk());
  server->Kill();
  EXPECT_THAT(client.Echo("still there"), IsOk());
  const TestServer::Report report = server->Stop();
  EXPECT_EQ(report.exit_status.signal(), SIGKILL);
  EXPECT_FALSE(report.complete);
  server.reset();
  EXPECT_THAT(client.ExpectEof(), IsOk());
}

TEST_F(TestServerTest, LendsTheServerAnotherStandardError) {
  int log[2];
  ASSERT_EQ(pipe2(log, O_CLOEXEC), 0);
  TestServer::Setup setup;
  setup.stderr_fd = log[1];
  auto server = StartServer(std::move(setup));
  close(log[1]);
  char lines[4096];
  const ssize_t length = read(log[0], lines, sizeof(lines));
  EXPECT_THAT(EventsOf({lines, static_cast<size_t>(length)}, "listening",
                       {{"server.address", "127.0.0.1"}}),
              SizeIs(1));
  EXPECT_THAT(server->AwaitEvent("listening"),
              StatusIs(absl::StatusCode::kUnavailable));
  StopAndExpectClean(*server);
  close(log[0]);
}

TEST_F(TestServerTest, StopsTheServerInItsDestructor) {
  const pid_t pid = StartServer()->pid();
  EXPECT_EQ(kill(pid, 0), -1);
}

}  // namespace
}  // namespace brood::testing
