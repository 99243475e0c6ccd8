// SPDX-License-Identifier: Apache-2.0

// Programs that the server executes: how they are executed, and how they end.

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/testing/exec/exec_harness.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr absl::Duration kLongest = absl::Seconds(20);

// A connection counts until its slot is free, which the line "ended" reports.
TEST_F(ExecTest, CountsTheConnectionsOfTheSameAddress) {
  for (const std::string strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    const auto server =
        Start({"--strategy=" + strategy, "--listen=:0"},
              {"/bin/sh", "-c", "echo $TCPCONNNUM $TCPCONCURRENCY; exec cat"});
    ASSERT_NE(server, nullptr);
    const uint16_t port = server->endpoint().port();
    const net::Endpoint here =
        net::Endpoint::Parse("127.0.0.1:1")->WithPort(port);
    const net::Endpoint here_by_ipv6 =
        net::Endpoint::Parse("[::1]:1")->WithPort(port);
    TestClient first = Connect(here);
    EXPECT_THAT(first.ExpectReply("0 1\n"), IsOk());
    TestClient second = Connect(here);
    EXPECT_THAT(second.ExpectReply("1 2\n"), IsOk());
    TestClient of_another = Connect(here_by_ipv6);
    EXPECT_THAT(of_another.ExpectReply("0 1\n"), IsOk());
    first.Close();
    ASSERT_THAT(server->log().AwaitEvent("ended", kLongest), IsOk());
    TestClient third = Connect(here);
    EXPECT_THAT(third.ExpectReply("1 2\n"), IsOk());
    second.Close();
    third.Close();
    of_another.Close();
    EXPECT_THAT(server->Stop(), IsOk());
  }
}

// A signal that was ignored at the start, as by nohup, stays ignored. A signal
// that the server itself ignores in children is default again.
TEST_F(ExecTest, KeepsTheSignalsThatWereIgnoredAtTheStart) {
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGINT, SIG_IGN);
  const auto server = Start({}, {kProbe, "facts"});
  std::signal(SIGHUP, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(Facts(server->endpoint()), HasSubstr("SigIgn: 0000000000000003"));
  EXPECT_THAT(server->Stop(), IsOk());
}

// As an embedder may have them: descriptors that are not close-on-exec.
TEST_F(ExecTest, ClosesOtherDescriptors) {
  constexpr int kLeaked = 77;
  ASSERT_EQ(dup2(STDERR_FILENO, kLeaked), kLeaked);
  for (const std::string strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    const auto server = Start({"--strategy=" + strategy}, {kProbe, "facts"});
    ASSERT_NE(server, nullptr);
    ASSERT_EQ(
        access(absl::StrCat("/proc/", server->pid(), "/fd/77").c_str(), F_OK),
        0)
        << "the server has it";
    EXPECT_THAT(Facts(server->endpoint()), Not(HasSubstr("descriptor 77")));
    EXPECT_THAT(server->Stop(), IsOk());
  }
  close(kLeaked);
}

// A forked child logs the event "handling" before it executes the program.
TEST_F(ExecTest, DoesNotForkForAProgramUnlessItForksAhead) {
  for (const std::string strategy : kStrategies) {
    const auto server = Start({"--strategy=" + strategy}, {kProbe, "exit"});
    ASSERT_NE(server, nullptr);
    EXPECT_THAT(Connect(server->endpoint()).ExpectEof(), IsOk());
    ASSERT_THAT(server->log().AwaitEvent("ended", kLongest), IsOk());
    const bool forks_ahead = strategy == "spares" || strategy == "zygote";
    EXPECT_THAT(EventsOf(server->log().All(), "handling"),
                SizeIs(forks_ahead ? 1 : 0))
        << strategy;
    EXPECT_THAT(server->Stop(), IsOk());
  }
}

TEST_F(ExecTest, ReportsAndDoesNotJudgeExitCodes) {
  for (const int code : {0, 1, 2, 101, 255}) {
    const auto server = Start({}, {kProbe, "exit", absl::StrCat(code)});
    ASSERT_NE(server, nullptr);
    EXPECT_THAT(Connect(server->endpoint()).ExpectEof(), IsOk());
    const auto ended = server->log().AwaitEvent(
        "ended", {{"brood.exit.code", code}}, kLongest);
    ASSERT_THAT(ended, IsOk());
    EXPECT_EQ(ended->Text("log.level"), "info");
    EXPECT_THAT(server->Stop(), IsOk());
  }
}

TEST_F(ExecTest, ReportsEachSignalThatEndsAProgram) {
  for (const int signal :
       {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP,  SIGABRT, SIGBUS,
        SIGFPE,  SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2,  SIGPIPE, SIGALRM,
        SIGTERM, SIGXCPU, SIGXFSZ, SIGSYS,  SIGRTMIN, SIGRTMAX}) {
    const auto server = Start({}, {kProbe, "signal", absl::StrCat(signal)});
    ASSERT_NE(server, nullptr);
    EXPECT_THAT(Connect(server->endpoint()).ExpectEof(), IsOk());
    EXPECT_THAT(server->log().AwaitEvent(
                    "ended", {{"brood.exit.signal", signal}}, kLongest),
                IsOk());
    EXPECT_THAT(server->Stop(), IsOk());
  }
}

// The file exists at the start and is removed later. The error goes to the log,
// and not to the client, which has descriptor 2 in the style inetd.
TEST_F(ExecTest, EndsAChildWhoseProgramWasRemoved) {
  const ShortDir dir;
  const std::string path(dir.Socket("program").path());
  for (const char* const style : {"ucspi", "inetd", "systemd"}) {
    std::ofstream(path) << std::ifstream(kProbe).rdbuf();
    ASSERT_EQ(chmod(path.c_str(), 0755), 0);
    const auto server =
        Start({absl::StrCat("--exec_style=", style)}, {path, "facts"});
    ASSERT_NE(server, nullptr);
    ASSERT_EQ(unlink(path.c_str()), 0);
    EXPECT_THAT(Connect(server->endpoint()).ExpectEof(), IsOk());
    const auto threw = server->log().AwaitEvent("handler-threw", kLongest);
    ASSERT_THAT(threw, IsOk());
    EXPECT_THAT(threw->Text("exception.message"), HasSubstr(path));
    EXPECT_THAT(
        server->log().AwaitEvent("ended", {{"brood.exit.code", 111}}, kLongest),
        IsOk());
    EXPECT_THAT(server->Stop(), IsOk());
  }
}

// Another process in the group of the program has the connection too.
TEST_F(ExecTest, EndsTheWholeGroupAtADeadline) {
  for (const char* const style : {"ucspi", "inetd"}) {
    for (const char* const mode : {"pair", "deaf"}) {
      SCOPED_TRACE(absl::StrCat(style, " ", mode));
      const auto server = Start(
          {absl::StrCat("--exec_style=", style), "--connection_timeout=300ms"},
          {kProbe, mode});
      ASSERT_NE(server, nullptr);
      TestClient client = Connect(server->endpoint());
      EXPECT_THAT(client.ExpectReply("ready\n"), IsOk());
      EXPECT_THAT(client.ExpectEof(), IsOk());
      EXPECT_THAT(server->log().AwaitEvent(
                      "ended", {{"brood.kill.reason", "connection"}}, kLongest),
                  IsOk());
      EXPECT_THAT(server->Stop(), IsOk());
    }
  }
}

TEST_F(ExecTest, EndsTheWholeGroupAfterTheGraceOfAStop) {
  for (const char* const mode : {"pair", "deaf"}) {
    SCOPED_TRACE(mode);
    const auto server = Start({"--drain_grace=100ms"}, {kProbe, mode});
    ASSERT_NE(server, nullptr);
    TestClient client = Connect(server->endpoint());
    EXPECT_THAT(client.ExpectReply("ready\n"), IsOk());
    EXPECT_THAT(server->Stop(), IsOk());
    EXPECT_THAT(client.ExpectEof(), IsOk());
  }
}

// The connection ends when its last descriptor is closed. The process goes on
// until its deadline, and keeps its slot.
TEST_F(ExecTest, KeepsTheSlotOfAProgramThatClosesEverything) {
  const auto server = Start({"--connection_timeout=300ms"}, {kProbe, "closed"});
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(Connect(server->endpoint()).ExpectEof(), IsOk());
  EXPECT_THAT(server->log().AwaitEvent(
                  "ended", {{"brood.kill.reason", "connection"}}, kLongest),
              IsOk());
  EXPECT_THAT(server->Stop(), IsOk());
}

TEST_F(ExecTest, LeavesRunningProgramsAloneInAnUpgrade) {
  for (const std::string strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    const auto server = Start({"--strategy=" + strategy}, {kProbe, "reply"});
    ASSERT_NE(server, nullptr);
    TestClient before = Connect(server->endpoint());
    ASSERT_THAT(before.Send("one\n"), IsOk());
    ASSERT_THAT(before.ReadExactly(7), IsOk());
    server->Signal(SIGUSR2);
    ASSERT_THAT(server->AwaitSuccessor(), IsOk());
    TestClient after = Connect(server->endpoint());
    ASSERT_THAT(after.Send("two\n"), IsOk());
    EXPECT_THAT(after.ReadExactly(5), IsOk()) << "by the same program";
    ASSERT_THAT(before.Send("on"), IsOk());
    ASSERT_THAT(before.ShutdownWrite(), IsOk());
    EXPECT_THAT(before.ReadUntilEof(), IsOkAndHolds(HasSubstr(": on\n")));
    after.Close();
    EXPECT_THAT(server->Stop(), IsOk());
  }
}

TEST_F(ExecTest, ServesAThousandAtOnce) {
  constexpr int kClients = 1000;
  const auto server =
      Start({"--max_connections=1000", "--log_level=warning"}, {"/bin/cat"});
  ASSERT_NE(server, nullptr);
  std::vector<TestClient> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Connect(server->endpoint()));
    ASSERT_THAT(clients.back().Send("x"), IsOk());
  }
  for (TestClient& client : clients) {
    EXPECT_THAT(client.ExpectReply("x"), IsOk());
  }
  clients.clear();
  EXPECT_THAT(server->Stop(), IsOk());
}

}  // namespace
}  // namespace brood::testing
