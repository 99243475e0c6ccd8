// SPDX-License-Identifier: Apache-2.0
//
// Each child has a process group of its own. A signal for the group of the
// server does not reach children, a signal for the group of a child does not
// reach the server, and processes that a child started end with it.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/tcp_server.h"
#include "brood/server/totals.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/handlers.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/quiet_setup.h"
#include "brood/testing/support/shared.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ChildGroup;
using server::ExitCode;

class ProcessGroupsTest : public StrategyTest {
 protected:
  // Returns a setup whose server leads a process group, as a shell arranges it
  // for a program that it starts.
  static TestServer::Setup GroupSetup() {
    TestServer::Setup setup = QuietSetup();
    setup.options.spares.min = 2;
    setup.options.pool.workers = 2;
    setup.before = [] { EXPECT_EQ(setpgid(0, 0), 0); };
    return setup;
  }
};

INSTANTIATE_TEST_SUITE_P(With, ProcessGroupsTest, EachStrategy(),
                         StrategyName());

// Sends "PID GROUP SESSION" of the process that serves.
ExitCode ReplyWithGroup(net::Connection& connection) {
  return Reply(connection, absl::StrCat(getpid(), " ", getpgrp(), " ",
                                        static_cast<int>(getsid(0))));
}

struct GroupRow {
  ChildGroup children;
  bool own_group;
  bool own_session;
};

TEST_P(ProcessGroupsTest, AreThoseOfTheOption) {
  for (const GroupRow& expected :
       {GroupRow{ChildGroup::kOwn, true, false},
        GroupRow{ChildGroup::kSession, true, true},
        GroupRow{ChildGroup::kInherit, false, false}}) {
    SCOPED_TRACE(server::NameOf(expected.children));
    TestServer::Setup setup = GroupSetup();
    setup.options.children = expected.children;
    setup.handler = ReplyWithGroup;
    const auto server = StartServer(std::move(setup));
    const absl::StatusOr<std::string> reply = ConnectTo(*server).ReadUntilEof();
    ASSERT_THAT(reply, IsOk());
    int pid, group, session;
    ASSERT_EQ(std::sscanf(reply->c_str(), "%d %d %d", &pid, &group, &session),
              3);
    EXPECT_EQ(group, expected.own_group ? pid : server->pid());
    EXPECT_EQ(session, expected.own_session ? pid : getsid(0));
    StopAndExpectClean(*server);
  }
}

// As Ctrl-C in a terminal does.
TEST_P(ProcessGroupsTest, LetChildrenFinishAtASignalForTheGroupOfTheServer) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto server = StartServer(GroupSetup());
    TestClient client = ConnectTo(*server);
    ASSERT_THAT(client.Echo("before"), IsOk());
    ASSERT_EQ(kill(-server->pid(), signal), 0);
    ASSERT_TRUE(Await([&] {
      return absl::IsUnavailable(
          TestClient::Connect(server->endpoint()).status());
    }));
    EXPECT_THAT(client.Echo("after"), IsOk());
    client.Close();
    const TestServer::Report report = server->AwaitExit();
    ExpectClean(report);
    EXPECT_EQ(report.totals.ended_ok, report.totals.accepted);
  }
}

TEST_P(ProcessGroupsTest, EndOnlyTheChildThatSignalsItsGroup) {
  TestServer::Setup setup = GroupSetup();
  setup.handler = [](net::Connection& connection) {
    kill(0, SIGTERM);
    return Reply(connection, "not reached");
  };
  const auto server = StartServer(std::move(setup));
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOkAndHolds(""));
  }
  EXPECT_EQ(StopAndExpectClean(*server).totals.crashed, 2u);
}

// Starts a process that uses the processor without end and holds the
// connection, stores its pid, and waits for it.
class StartsAProgram {
 public:
  explicit StartsAProgram(std::atomic<pid_t>* started) : started_(started) {}

  ExitCode operator()(net::Connection& connection) const {
    const pid_t pid = fork();
    if (pid == 0) {
      *started_ = getpid();
      for (;;) {
      }
    }
    char byte;
    while (recv(connection.fd(), &byte, 1, 0) > 0) {
    }
    waitpid(pid, nullptr, 0);
    return ExitCode::kServed;
  }

 private:
  std::atomic<pid_t>* const started_;
};

bool HasEnded(pid_t pid) { return kill(pid, 0) < 0 && errno == ESRCH; }

TEST_P(ProcessGroupsTest, EndTogetherAtADeadline) {
  Shared<std::atomic<pid_t>> started;
  TestServer::Setup setup = GroupSetup();
  setup.options.deadlines.connection = absl::Milliseconds(200);
  setup.handler = StartsAProgram(&*started);
  const auto server = StartServer(std::move(setup));
  // The connection ends when the last process that has it has ended.
  EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOk());
  EXPECT_TRUE(Await([&] { return HasEnded(*started); }));
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
}

TEST_P(ProcessGroupsTest, EndTogetherAtAStop) {
  Shared<std::atomic<pid_t>> started;
  TestServer::Setup setup = GroupSetup();
  setup.options.drain_grace = absl::ZeroDuration();
  setup.handler = StartsAProgram(&*started);
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  ASSERT_TRUE(Await([&] { return *started != 0; }));
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
  EXPECT_THAT(client.ReadUntilEof(), IsOk());
  EXPECT_TRUE(Await([&] { return HasEnded(*started); }));
}

TEST_P(ProcessGroupsTest, SurviveASignalThatRequestsAnUpgrade) {
  const auto server = StartServer(GroupSetup());
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Echo("before"), IsOk());
  for (const pid_t child : server->children()) {
    for (const int signal : {SIGHUP, SIGUSR2}) kill(child, signal);
  }
  EXPECT_THAT(client.Echo("after"), IsOk());
  client.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
}

TEST_P(ProcessGroupsTest, KeepASignalIgnoredThatWasIgnoredAtTheStart) {
  TestServer::Setup setup = GroupSetup();
  setup.before = [] { std::signal(SIGINT, SIG_IGN); };
  setup.after = [] { EXPECT_EQ(std::signal(SIGINT, SIG_IGN), SIG_IGN); };
  setup.options.take_signals = false;
  setup.run = [](server::TcpServer& server) {
    for (;;) {
      const absl::StatusOr<bool> goes_on = server.Step(absl::Seconds(1));
      if (!goes_on.ok() || !*goes_on) return goes_on.status();
      if (server.totals().accepted == 1 && server.totals().running == 0) {
        server.RequestDrain();
      }
    }
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Echo("before"), IsOk());
  for (const pid_t child : server->children()) kill(child, SIGINT);
  EXPECT_THAT(client.Echo("after"), IsOk());
  client.Close();
  const TestServer::Report report = server->AwaitExit();
  EXPECT_EQ(report.totals.ended_ok, 1u);
}

}  // namespace
}  // namespace brood::testing
