// SPDX-License-Identifier: Apache-2.0

// The examples in the public headers of server/ and proc/, word for word.

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/net/socket.h"
#include "brood/proc/exit_status.h"
#include "brood/server/connection_report.h"
#include "brood/server/echo_handler.h"
#include "brood/server/exec_handler.h"
#include "brood/server/handler.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/log_level.h"
#include "brood/server/options.h"
#include "brood/server/own_command.h"
#include "brood/server/prepare_process.h"
#include "brood/server/readiness.h"
#include "brood/server/scoreboard.h"
#include "brood/server/socket_activation.h"
#include "brood/server/strategy_kind.h"
#include "brood/server/tcp_server.h"
#include "brood/server/totals.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/handler_run.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::IsOkAndHolds;

class ServerExamplesTest : public testing::LeakCheck {};

// Only compiled, because port 7000 may be in use. //testing/readme runs a
// similar program.
[[maybe_unused]] absl::Status ServeUntilToldToStop() {
  // Example of server/tcp_server.h.
  Options options;
  options.listen = {"127.0.0.1:7000"};
  auto server = TcpServer::Create(options, [](net::Connection& connection) {
    return net::WriteFull(connection.socket(), "hello\n").ok()
               ? ExitCode::kServed
               : ExitCode::kPeerLost;
  });
  if (!server.ok()) return server.status();
  return (*server)->Run();  // until SIGTERM or RequestDrain()
  // End of the example.
}

// Only compiled, for the same reason.
[[maybe_unused]] absl::Status ExecuteCat(const Options& options) {
  // Example of server/exec_handler.h.
  ExecOptions cat;
  cat.command = {"cat"};
  absl::StatusOr<ExecHandler> handler = ExecHandler::Create(cat);
  if (!handler.ok()) return handler.status();
  auto server = TcpServer::Create(options, *handler);
  // End of the example.
  return server.status();
}

TEST_F(ServerExamplesTest, HandlerGreets) {
  // Example of server/handler.h.
  Handler greet = [](net::Connection& connection) {
    return net::WriteFull(connection.socket(), "hello\n").ok()
               ? ExitCode::kServed
               : ExitCode::kPeerLost;
  };
  // End of the example.
  testing::HandlerRun run(greet);
  EXPECT_THAT(run.client().ReadUntilEof(), IsOkAndHolds("hello\n"));
  EXPECT_EQ(run.code(), ExitCode::kServed);
}

TEST_F(ServerExamplesTest, HandlerAnnotates) {
  const std::string path = "/";
  testing::HandlerRun run([&](net::Connection& connection) {
    // Example of server/handler.h.
    Annotate(connection, absl::StrCat("GET ", path, " 200"));
    // End of the example.
    return ExitCode::kServed;
  });
  EXPECT_EQ(run.code(), ExitCode::kServed) << "without effect in this process";
}

TEST_F(ServerExamplesTest, OptionsAreValid) {
  // Example of server/options.h.
  Options options;
  options.listen = {"127.0.0.1:7000", "[::1]:7000"};
  options.max_connections = 200;
  options.strategy = StrategyKind::kSpares;
  options.spares.min = 8;
  options.deadlines.idle = absl::Minutes(5);
  // End of the example.
  EXPECT_THAT(options.Validate(), IsOk());
}

TEST_F(ServerExamplesTest, ConnectionReportsCountTheCrashesOfAPeer) {
  Options options;
  std::map<std::string, int> crashes;
  // Example of server/connection_report.h.
  options.on_connection_end = [&](const ConnectionReport& report) {
    if (!report.status.exited()) ++crashes[report.peer.ToString()];
  };
  // End of the example.
  ConnectionReport crashed;
  crashed.peer = net::Endpoint::Parse("127.0.0.1:7000")->ToAddress();
  crashed.status = proc::ExitStatus::FromWait(SIGSEGV, rusage());
  options.on_connection_end(crashed);
  EXPECT_EQ(crashes["127.0.0.1:7000"], 1);
}

TEST_F(ServerExamplesTest, TotalsBalance) {
  Options options;
  options.listen = {"127.0.0.1:0"};
  auto created = TcpServer::Create(options, EchoHandler(1024));
  ASSERT_THAT(created, IsOk());
  const TcpServer& server = **created;
  // Example of server/totals.h.
  const Totals& totals = server.totals();
  const uint64_t crashes = totals.crashed_by[SIGSEGV];
  const uint64_t idle =
      totals.killed_for[static_cast<size_t>(KillReason::kIdle)];
  // End of the example.
  EXPECT_EQ(crashes + idle, 0u);
  EXPECT_TRUE(totals.Balanced());
}

TEST_F(ServerExamplesTest, TotalsAreFoundUnderTheirOldName) {
  // Example of server/scoreboard.h.
  Totals totals;
  // End of the example.
  EXPECT_TRUE(totals.Balanced());
}

TEST_F(ServerExamplesTest, EchoHandlerServesAndAnnounces) {
  Options options;
  options.listen = {"127.0.0.1:0"};
  // Example of server/echo_handler.h.
  auto server = TcpServer::Create(options, EchoHandler(1024));
  // End of the example.
  ASSERT_THAT(server, IsOk());
  ::testing::internal::CaptureStdout();
  // Example of server/readiness.h.
  size_t lost = AnnounceReadiness((*server)->endpoints(), STDOUT_FILENO);
  // End of the example.
  EXPECT_EQ(lost, 0u);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(),
              HasSubstr("listening 127.0.0.1:"));
}

absl::Status ListenAsTheServiceManagerSays(std::vector<std::string>* listen) {
  const Handler handler = EchoHandler(1024);
  // Example of server/socket_activation.h.
  Options options;
  auto inherited = InheritListeners(options.log);
  if (!inherited.ok()) return inherited.status();
  if (!inherited->empty()) options.listen = {"inherited"};
  TakeNotifySocket(&options);
  *listen = options.listen;
  options.listen = {"127.0.0.1:0"};
  auto server = TcpServer::Create(options, handler, *std::move(inherited));
  // End of the example.
  return server.status();
}

TEST_F(ServerExamplesTest, ListensByItselfWithoutAServiceManager) {
  std::vector<std::string> listen;
  EXPECT_THAT(ListenAsTheServiceManagerSays(&listen), IsOk());
  EXPECT_EQ(listen, Options().listen);
}

TEST_F(ServerExamplesTest, ServesAnInheritedListener) {
  const int listening_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(listen(listening_fd, 1), 0);
  Options options;
  const Handler handler = EchoHandler(1024);
  // Example of server/inherited_listener.h.
  std::vector<InheritedListener> inherited;
  inherited.push_back({net::Socket::Adopt(listening_fd), ""});
  options.listen = {"inherited"};
  auto server = TcpServer::Create(options, handler, std::move(inherited));
  // End of the example.
  ASSERT_THAT(server, IsOk());
  EXPECT_EQ((*server)->endpoints().size(), 1u);
}

absl::Status SetFromTexts(Options& options) {
  {
    // Example of server/log_level.h.
    absl::StatusOr<LogLevel> level = ParseLogLevel("warning");
    if (!level.ok()) return level.status();
    options.log.level = *level;
    // End of the example.
  }
  {
    // Example of server/strategy_kind.h.
    absl::StatusOr<StrategyKind> kind = ParseStrategyKind("spares");
    if (!kind.ok()) return kind.status();
    options.strategy = *kind;
    // End of the example.
  }
  return options.Validate();
}

TEST_F(ServerExamplesTest, SinkGetsAnEvent) {
  Options options;
  std::ostringstream out;
  // Example of server/log_level.h.
  options.log.sink = [&](const LogRecord& record) {
    out << NameOf(record.level) << ": " << record.message << "\n";
  };
  // End of the example.
  LogRecord record;
  record.level = LogLevel::kWarning;
  record.message = "killing 2 children";
  options.log.sink(record);
  EXPECT_EQ(out.str(), "warning: killing 2 children\n");
}

TEST_F(ServerExamplesTest, TextsSetEnums) {
  Options options;
  EXPECT_THAT(SetFromTexts(options), IsOk());
  EXPECT_EQ(options.log.level, LogLevel::kWarning);
  EXPECT_EQ(options.strategy, StrategyKind::kSpares);
}

TEST_F(ServerExamplesTest, OwnCommandStartsTheProgramAgain) {
  const int argc = 2;
  const char* const argv[] = {"/opt/echo/server", "--workers=4"};
  // Example of server/own_command.h.
  Options options;
  absl::StatusOr<std::vector<std::string>> command = OwnCommand(argc, argv);
  if (command.ok()) options.upgrade.command = *command;
  // End of the example.
  EXPECT_EQ(options.upgrade.command,
            (std::vector<std::string>{"/opt/echo/server", "--workers=4"}));
}

// Only compiled, because it changes the whole process.
[[maybe_unused]] void PrepareForManyDescriptors() {
  // Example of server/prepare_process.h.
  ProcessOptions process;
  process.descriptors = 4096;
  const absl::Status prepared = PrepareProcess(process);
  if (!prepared.ok()) std::cerr << "warning: " << prepared << std::endl;
  // End of the example.
}

TEST_F(ServerExamplesTest, ExitStatusPrintsForALog) {
  std::ostringstream said;
  std::streambuf* const standard_error = std::cerr.rdbuf(said.rdbuf());
  const pid_t pid = 4711;
  const int dumped_core = 0x80;
  const auto status =
      proc::ExitStatus::FromWait(SIGSEGV | dumped_core, rusage());
  // Example of proc/exit_status.h.
  std::cerr << "pid " << pid << " " << status.ToString() << std::endl;
  // pid 4711 killed by SIGSEGV (Segmentation fault), core dumped
  // End of the example.
  std::cerr.rdbuf(standard_error);
  EXPECT_EQ(said.str(),
            "pid 4711 killed by SIGSEGV (Segmentation fault), core dumped\n");
}

}  // namespace
}  // namespace brood::server
