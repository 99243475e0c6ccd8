// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/syscalls/syscall_scenarios.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <thread>  // NOLINT(build/c++11): a program that has threads.
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/command_line/flag_reader.h"
#include "brood/server/control/request_signals.h"
#include "brood/server/exec_handler.h"
#include "brood/server/options.h"
#include "brood/server/own_command.h"
#include "brood/server/prepare_process.h"
#include "brood/server/readiness.h"
#include "brood/server/socket_activation.h"
#include "brood/server/tcp_server.h"
#include "brood/testing/support/shared.h"

namespace brood::testing {
namespace {

using Setup = TestServer::Setup;
using server::TcpServer;

// Runs the server step by step, and begins a new generation after two clients.
absl::Status RunTwoGenerations(TcpServer& server) {
  bool begun = false;
  for (;;) {
    if (!begun && server.totals().ended_ok >= 2) {
      begun = true;
      absl::Status status = server.BeginGeneration();
      if (!status.ok()) return status;
    }
    const absl::StatusOr<bool> goes_on = server.Step(absl::Seconds(10));
    if (!goes_on.ok()) return goes_on.status();
    if (!*goes_on) return absl::OkStatus();
  }
}

absl::Status RunBesideAThread(TcpServer& server) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) < 0) return absl::ErrnoToStatus(errno, "pipe2");
  std::thread other([&] {
    char byte;
    while (read(fds[0], &byte, 1) < 0) {
    }
  });
  absl::Status run = server.Run();
  close(fds[1]);
  other.join();
  close(fds[0]);
  return run;
}

// Makes the descriptor `second` the standard error of the server, and keeps
// `first` unless it is negative.
Kept LogTo(int first, int second, Setup& setup) {
  if (second < 0) throw std::runtime_error("no descriptor for the log");
  setup.stderr_fd = second;
  Kept kept;
  kept.sockets.push_back(net::Socket::Adopt(second));
  if (first >= 0) kept.sockets.push_back(net::Socket::Adopt(first));
  return kept;
}

Scenario LogToFile() {
  Scenario scenario;
  scenario.name = "log to a file";
  scenario.prepare = [](Setup& setup) {
    return LogTo(-1, memfd_create("log", MFD_CLOEXEC), setup);
  };
  return scenario;
}

// Standard input is closed, so that the next descriptor gets its number. (A log
// to a file opens none.)
Scenario WithoutStandardInput() {
  Scenario scenario = LogToFile();
  scenario.name = "without standard input";
  scenario.prepare = [log_to_file = scenario.prepare](Setup& setup) {
    setup.options.strategy = server::StrategyKind::kPool;
    setup.options.pool.workers = 2;
    setup.before = [] { close(STDIN_FILENO); };
    return log_to_file(setup);
  };
  return scenario;
}

Scenario LogToSocket() {
  Scenario scenario;
  scenario.name = "log to a socket";
  scenario.prepare = [](Setup& setup) {
    int fds[2] = {-1, -1};
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
    return LogTo(fds[0], fds[1], setup);
  };
  return scenario;
}

Scenario LogToUnreadPipe() {
  Scenario scenario;
  scenario.name = "log to a pipe that no process reads";
  scenario.prepare = [](Setup& setup) {
    int fds[2] = {-1, -1};
    if (pipe2(fds, O_CLOEXEC) == 0) close(fds[0]);
    return LogTo(-1, fds[1], setup);
  };
  return scenario;
}

Scenario LogToBorrowedPipe() {
  Scenario scenario =
      With("log to a pipe that cannot be opened", [](Setup&) {});
  scenario.always_fail = {{"server::Open open", ENXIO}};
  return scenario;
}

Scenario LogToBorrowedPipeOfAnOldKernel() {
  Scenario scenario = LogToBorrowedPipe();
  scenario.name = "log to a pipe that cannot be opened, on an old kernel";
  scenario.always_fail.push_back(
      {"LineWriter::WriteToPipe pwritev2", EOPNOTSUPP});
  return scenario;
}

// The first process that is spawned fails before it is ready.
Scenario DiesAtStart(server::StrategyKind strategy) {
  Scenario scenario;
  scenario.name =
      absl::StrCat(NameOf(strategy), ", one of which dies at its start");
  scenario.prepare = [strategy](Setup& setup) {
    setup.options.strategy = strategy;
    setup.options.pool.workers = 2;
    const auto spawned = std::make_shared<Shared<std::atomic<int>>>();
    setup.options.prepare_child = [spawned] {
      return (**spawned)++ == 0 ? absl::UnavailableError("the first")
                                : absl::OkStatus();
    };
    return Kept();
  };
  return scenario;
}

Scenario KilledZygote() {
  Scenario scenario = With("zygote, killed", [](Setup& s) {
    s.options.strategy = server::StrategyKind::kZygote;
  });
  scenario.kills_zygote = true;
  return scenario;
}

Scenario WithoutClone3() {
  Scenario scenario = With("fork, without clone3", [](Setup&) {});
  scenario.always_fail = {{"CallClone3 syscall", ENOSYS}};
  return scenario;
}

Scenario WithoutTidAddress() {
  Scenario scenario = With("fork, without PR_GET_TID_ADDRESS", [](Setup&) {});
  scenario.always_fail = {{"CloneSpawner::Create prctl", EINVAL}};
  return scenario;
}

Scenario RefusedSignals() {
  Scenario scenario = With("signals cannot be blocked", [](Setup&) {});
  scenario.always_fail = {{"SignalInbox::Create sigprocmask", EINVAL}};
  scenario.refused = true;
  return scenario;
}

Scenario Deadlines() {
  Scenario scenario = With("deadlines", [](Setup& setup) {
    setup.options.deadlines.first_byte = absl::Milliseconds(100);
    setup.options.deadlines.idle = absl::Seconds(20);
    setup.options.deadlines.connection = absl::Seconds(20);
  });
  scenario.client_stalls = true;
  return scenario;
}

Scenario Idle() {
  Scenario scenario = With("an idle client", [](Setup& setup) {
    setup.options.deadlines.idle = absl::Milliseconds(400);
  });
  scenario.client_stalls = true;
  return scenario;
}

Scenario Grace() {
  Scenario scenario = With("a client that stays", [](Setup& setup) {
    setup.options.drain_grace = absl::Milliseconds(100);
  });
  scenario.client_stays = true;
  return scenario;
}

// Prepares the process as server/command_line/main.cc does, after everything
// that it corrects was set wrong. Restores the process afterwards.
absl::Status PrepareAsMainDoes() {
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  const sighandler_t handler = signal(SIGUSR2, SIG_IGN);
  rlimit limit;
  getrlimit(RLIMIT_SIGPENDING, &limit);
  const rlimit low = {limit.rlim_cur - 1, limit.rlim_max};
  setrlimit(RLIMIT_SIGPENDING, &low);
  const int input = dup(STDIN_FILENO);
  close(STDIN_FILENO);
  server::ProcessOptions process;
  const absl::Status prepared = server::PrepareProcess(process);
  process.huge_text = true;  // not available on every machine
  server::PrepareProcess(process).IgnoreError();
  dup2(input, STDIN_FILENO);
  close(input);
  setrlimit(RLIMIT_SIGPENDING, &limit);
  signal(SIGUSR2, handler);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  return prepared;
}

// Takes the steps of server/command_line/main.cc before a server exists that
// can also be taken later. Descriptor 3 was inherited.
absl::Status BeginAsMainDoes() {
  const char* const by_path[] = {"./server"};
  const char* const by_name[] = {"server"};
  server::Options options;
  setenv("LISTEN_PID", absl::StrCat(getpid()).c_str(), 1);
  setenv("LISTEN_FDS", "1", 1);
  setenv("PWD", "/", 1);  // wrong, so that the kernel is asked
  server::TakeNotifySocket(&options);
  const absl::Status inherited = server::InheritListeners().status();
  close(STDERR_FILENO + 1);  // also if it was not taken
  for (const absl::Status& status :
       {inherited, server::OwnCommand(1, by_path).status(),
        server::OwnCommand(1, by_name).status(),
        server::ReadFlags({"--flagfile=/dev/null"}, {}).status()}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// Runs the server as server/command_line/main.cc does. The first handler leaves
// an orphan that has already ended.
Scenario Program() {
  Scenario scenario;
  scenario.name = "program";
  scenario.prepare = [](Setup& setup) {
    setup.options.init = true;
    setup.given = {STDERR_FILENO + 1};
    setup.before = [] { server::RequestSignals::BlockAlone().IgnoreError(); };
    const auto served = std::make_shared<Shared<std::atomic<int>>>();
    setup.handler = [served,
                     echo = setup.handler](net::Connection& connection) {
      if ((**served)++ == 0) {
        if (fork() == 0) _exit(0);
        siginfo_t info;
        waitid(P_ALL, 0, &info, WEXITED | WNOWAIT);
      }
      return echo(connection);
    };
    setup.run = [served](TcpServer& server) {
      absl::Status begun = PrepareAsMainDoes();
      begun.Update(BeginAsMainDoes());
      // After a failure, clients in the queue are reset, and no handler may
      // leave an orphan: it might not have ended.
      if (!begun.ok()) ++**served;
      if (!begun.ok()) return begun;
      server::AnnounceReadiness(server.endpoints(), STDERR_FILENO);
      return server.Run();
    };
    Kept kept;
    kept.lent.push_back(
        net::Socket::Adopt(open("/dev/null", O_RDONLY | O_CLOEXEC)));
    kept.lent = FromThreeOn(std::move(kept.lent));
    return kept;
  };
  return scenario;
}

// The connections are served by a program. Launches it without a fork.
Scenario ExecutedProgram() {
  return With("a program for each connection", [](Setup& setup) {
    server::ExecOptions cat;
    cat.command = {"/bin/cat"};
    setup.handler = *server::ExecHandler::Create(cat);
  });
}

}  // namespace

Scenario With(const std::string& name,
              const std::function<void(Setup&)>& change) {
  Scenario scenario;
  scenario.name = name;
  scenario.prepare = [change](Setup& setup) {
    change(setup);
    return Kept();
  };
  return scenario;
}

std::vector<Scenario> Scenarios(const ShortDir& dir) {
  std::vector<Scenario> all = {
      With("fork", [](Setup&) {}),
      With("spares, two generations",
           [](Setup& setup) {
             setup.options.strategy = server::StrategyKind::kSpares;
             setup.options.spares.min = 2;
             setup.options.spares.max = 4;
             setup.run = RunTwoGenerations;
           }),
      With("pool, two generations",
           [](Setup& setup) {
             setup.options.strategy = server::StrategyKind::kPool;
             setup.options.pool.workers = 2;
             setup.options.pool.max_connections = 3;
             setup.run = RunTwoGenerations;
           }),
      With(
          "zygote",
          [](Setup& s) { s.options.strategy = server::StrategyKind::kZygote; }),
      KilledZygote(),
      With("spares that die with their parent",
           [](Setup& setup) {
             setup.options.strategy = server::StrategyKind::kSpares;
             setup.options.on_parent_death = server::OnParentDeath::kDie;
           }),
      With("auto",
           [](Setup& s) { s.options.strategy = server::StrategyKind::kAuto; }),
      With("auto, in a program with threads",
           [](Setup& setup) {
             setup.options.strategy = server::StrategyKind::kAuto;
             setup.run = RunBesideAThread;
           }),
      With("own loop, two listeners",
           [](Setup& setup) {
             setup.options.listen = {":0", "127.0.0.1:0"};
             setup.options.deadlines.peer = absl::Seconds(30);
             setup.options.handler_reports = true;
             setup.options.on_connection_end =
                 [](const server::ConnectionReport&) {};
             setup.options.take_signals = false;
             setup.run = RunInOwnLoop;
           }),
      Deadlines(),
      Idle(),
      Grace(),
      Program(),
      ExecutedProgram(),
      WithoutStandardInput(),
      With("quiet",
           [](Setup& setup) {
             setup.options.log.level = server::LogLevel::kError;
           }),
      LogToFile(),
      LogToSocket(),
      LogToUnreadPipe(),
      LogToBorrowedPipe(),
      LogToBorrowedPipeOfAnOldKernel(),
      DiesAtStart(server::StrategyKind::kSpares),
      DiesAtStart(server::StrategyKind::kPool),
      WithoutClone3(),
      WithoutTidAddress(),
      RefusedSignals(),
  };
  for (Scenario& scenario : HandoffScenarios(dir)) {
    all.push_back(std::move(scenario));
  }
  return all;
}

}  // namespace brood::testing
