// SPDX-License-Identifier: Apache-2.0

// Programs that the server executes: their environment, and how they end.

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr absl::Duration kLongest = absl::Seconds(20);
constexpr char kProbe[] = "testing/exec/probe";
constexpr char kStrategies[][8] = {"fork", "spares", "zygote", "auto"};

std::string WorkingDirectory() {
  char directory[4096];
  return getcwd(directory, sizeof(directory));
}

class ExecTest : public LeakCheck {
 protected:
  // Starts a server with `flags` that executes `program`.
  static std::unique_ptr<ServerProgram> Start(
      const std::vector<std::string>& flags,
      const std::vector<std::string>& program) {
    std::vector<std::string> command = {ServerProgram::Path()};
    command.insert(command.end(), flags.begin(), flags.end());
    command.push_back("--");
    command.insert(command.end(), program.begin(), program.end());
    auto server = ServerProgram::Start(std::move(command));
    EXPECT_THAT(server, IsOk());
    return server.ok() ? *std::move(server) : nullptr;
  }

  static TestClient Connect(const net::Endpoint& endpoint) {
    return *TestClient::Connect(endpoint);
  }

  // Returns what the probe prints to a client of `endpoint`, with the port of
  // the client in place of PEERPORT.
  static std::string Facts(const net::Endpoint& endpoint) {
    TestClient client = Connect(endpoint);
    const std::string facts = *client.ReadUntilEof();
    if (endpoint.is_unix()) return facts;
    return absl::StrReplaceAll(
        facts, {{absl::StrCat("PORT=", client.endpoint().port(), "\n"),
                 "PORT=PEERPORT\n"}});
  }
};

// The lines that the probe prints, for one style and kind of address.
struct Golden {
  std::string style;
  std::string listen;
  // The address that the client connects to, if not the endpoint of the server.
  std::string connect;
  std::string variables;
  std::string descriptors;
  std::string surroundings;
};

std::string TcpVariables(const std::string& address,
                         const std::string& before = "",
                         const std::string& host = "") {
  return absl::StrCat(
      "A=1 2\nB=\n", before, "PROTO=TCP\nREMOTE_ADDR=", address, "\n", host,
      "REMOTE_PORT=PEERPORT\nTCPCONCURRENCY=1\nTCPCONNNUM=0\n"
      "TCPLOCALIP=",
      address, "\nTCPLOCALPORT=SERVERPORT\nTCPREMOTEIP=", address,
      "\nTCPREMOTEPORT=PEERPORT\n");
}

class ExecGoldenTest : public ExecTest {
 protected:
  // Sets variables that describe another connection or that are meant for the
  // server itself, which programs must not get.
  ExecGoldenTest() {
    setenv("TCPREMOTEIP", "192.0.2.99", 1);
    setenv("TCPREMOTEHOST", "stale", 1);
    setenv("REMOTE_HOST", "stale", 1);
    setenv("SECRET", "1", 1);
    umask(027);
  }

  void ExpectFacts(const Golden& golden, const std::string& strategy) {
    SCOPED_TRACE(absl::StrCat(golden.style, " ", golden.listen, " ", strategy));
    const auto server = Start({absl::StrCat("--strategy=", strategy),
                               absl::StrCat("--listen=", golden.listen),
                               absl::StrCat("--exec_style=", golden.style),
                               "--env=A=1 2", "--env=B=x", "--env=B="},
                              {kProbe, "facts", "", "two words"});
    ASSERT_NE(server, nullptr);
    const net::Endpoint& endpoint = server->endpoint();
    const std::string facts = Facts(
        golden.connect.empty()
            ? endpoint
            : net::Endpoint::Parse(golden.connect)->WithPort(endpoint.port()));
    const std::string expected =
        absl::StrCat("argument ", golden.style == "inetd" ? "probe" : kProbe,
                     "\nargument facts\nargument \nargument two words\n",
                     golden.variables, golden.descriptors,
                     "SigPnd: 0000000000000000\nSigBlk: 0000000000000000\n"
                     "SigIgn: 0000000000000000\nSigCgt: 0000000000000000\n",
                     golden.surroundings, "umask 27\n");
    EXPECT_EQ(facts,
              absl::StrReplaceAll(
                  expected, {{"SERVERPORT", absl::StrCat(endpoint.port())}}));
    EXPECT_THAT(server->Stop(), IsOk());
  }

  const std::string ucspi_fds_ =
      "descriptor 0: the connection\ndescriptor 1: the connection\n"
      "descriptor 2: no socket\n";
  const std::string own_group_ = absl::StrCat(
      "group own, session inherited\ndirectory ", WorkingDirectory(), "\n");
  const std::string own_session_ = absl::StrCat(
      "group own, session own\ndirectory ", WorkingDirectory(), "\n");
  const ShortDir dir_;
};

TEST_F(ExecGoldenTest, Ucspi) {
  const std::string path = dir_.Socket("s").ToString();
  const std::string unix_variables = absl::StrCat(
      "A=1 2\nB=\nIPCLOCALPATH=", path.substr(5), "\nIPCREMOTEEGID=", getegid(),
      "\nIPCREMOTEEUID=", geteuid(), "\nPROTO=IPC\n");
  for (const char* const strategy : kStrategies) {
    for (const Golden& golden : {
             Golden{"ucspi", "127.0.0.1:0", "", TcpVariables("127.0.0.1"),
                    ucspi_fds_, own_group_},
             Golden{"ucspi", "[::1]:0", "", TcpVariables("::1"), ucspi_fds_,
                    own_group_},
             // An IPv4 client of a listener for IPv6 and IPv4.
             Golden{"ucspi", ":0", "127.0.0.1:1", TcpVariables("127.0.0.1"),
                    ucspi_fds_, own_group_},
             Golden{"ucspi", path, "", unix_variables, ucspi_fds_, own_group_},
         }) {
      ExpectFacts(golden, strategy);
    }
  }
}

TEST_F(ExecGoldenTest, Inetd) {
  for (const char* const strategy : kStrategies) {
    ExpectFacts(
        {"inetd", "[::1]:0", "", TcpVariables("::1", "", "REMOTE_HOST=::1\n"),
         "descriptor 0: the connection\ndescriptor 1: the connection\n"
         "descriptor 2: the connection\n",
         "group own, session own\ndirectory /\n"},
        strategy);
  }
}

TEST_F(ExecGoldenTest, Systemd) {
  for (const char* const strategy : kStrategies) {
    ExpectFacts({"systemd", "127.0.0.1:0", "",
                 TcpVariables("127.0.0.1",
                              "LISTEN_FDNAMES=connection\nLISTEN_FDS=1\n"
                              "LISTEN_PID=own\n"),
                 absl::StrCat(ucspi_fds_, "descriptor 3: the connection\n"),
                 own_session_},
                strategy);
  }
}

// A connection counts until its slot is free, which the line "ended" reports.
TEST_F(ExecTest, CountsTheConnectionsOfTheSameAddress) {
  for (const char* const strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    const auto server =
        Start({absl::StrCat("--strategy=", strategy), "--listen=:0"},
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
  for (const char* const strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    const auto server =
        Start({absl::StrCat("--strategy=", strategy)}, {kProbe, "facts"});
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
  for (const char* const strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    const auto server =
        Start({absl::StrCat("--strategy=", strategy)}, {kProbe, "reply"});
    ASSERT_NE(server, nullptr);
    TestClient before = Connect(server->endpoint());
    ASSERT_THAT(before.Send("one\n"), IsOk());
    const std::string first = *before.ReadExactly(7);
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
