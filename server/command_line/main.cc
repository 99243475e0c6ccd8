// SPDX-License-Identifier: Apache-2.0

// The standalone server: it executes a program for each connection, or sends
// every byte back.
//
// The only file of the tree that defines flags, so that embedders inherit none.
// Exit codes: 0 the server stopped as requested; 100 the command line is wrong;
// 111 the system refused something (a port in use, no memory).

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/proc/exit_status.h"
#include "brood/server/command_line/flag_reader.h"
#include "brood/server/command_line/flags.h"
#include "brood/server/command_line/handler_from_flags.h"
#include "brood/server/command_line/help.h"
#include "brood/server/command_line/machine_limits.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/own_command.h"
#include "brood/server/prepare_process.h"
#include "brood/server/readiness.h"
#include "brood/server/socket_activation.h"
#include "brood/server/tcp_server.h"
#include "gflags/gflags.h"

// Numbers and lengths of time are strings here, which OptionsFromFlags()
// converts, so that the error for a wrong value lists what is allowed.
// server/command_line/flags.cc has the field of Options that each flag sets.
DEFINE_string(listen, "127.0.0.1:7000",
              "endpoints, separated by commas: 127.0.0.1:7000, [::1]:7000, "
              "localhost:7000, or :7000 for every address (port 0: the kernel "
              "chooses a free port); unix:/PATH; fd:N for descriptor N, which "
              "must listen; inherited for the listeners of the service manager "
              "(LISTEN_FDS), the default if there are any");
DEFINE_string(backlog, "0",
              "length of the kernel's queue of waiting clients; 0 for the "
              "longest that the machine allows");
DEFINE_string(unix_mode, "0600",
              "permissions of the file of a unix socket, in octal: a process "
              "that may write to the file may connect");
DEFINE_string(strategy, "fork",
              "how processes are created: fork (for each connection), spares "
              "(forked ahead), pool (reused), zygote (forked from a small "
              "process) or auto (fork or zygote)");
DEFINE_string(min_spares, "4",
              "strategy spares: the least number of processes that wait for a "
              "connection");
DEFINE_string(max_spares, "32",
              "strategy spares: the largest number of processes that wait for "
              "a connection, reached when they were too few");
DEFINE_string(workers, "16", "strategy pool: the number of processes");
DEFINE_string(max_connections_per_worker, "1000",
              "strategy pool: connections that a process serves before it is "
              "replaced, more or less by a quarter");
DEFINE_string(
    max_connections, "1000",
    "largest number of children at once; further clients wait in the queue");
DEFINE_bool(huge_text, true,
            "keep the program's code on huge pages, if the machine has any: "
            "children start and end faster");
DEFINE_bool(stack_canary, true,
            "give each child a stack canary of its own, so that an attacker "
            "cannot guess it byte by byte in one child after the other");
DEFINE_bool(dumpable, false,
            "let processes of the same user read and trace the server and its "
            "children, and let the kernel write core files");
DEFINE_string(oom_score_adj, "500",
              "how much more willingly than the server the kernel kills "
              "spares, workers and children of a zygote when memory runs out");
DEFINE_bool(oom_score_with_fork, false,
            "apply oom_score_adj to each child that is forked for a connection "
            "as well");
DEFINE_string(max_size, "1024", "bytes that the echo handler reads at a time");
DEFINE_string(linger, "2s",
              "how long a child discards what its client still sends after the "
              "handler has returned; 0 closes the connection at once");
DEFINE_bool(init, false,
            "be the init process of a container: adopt and reap orphans");
DEFINE_string(drain_grace, "8s",
              "time from the first SIGTERM until children are terminated, and "
              "then killed");
DEFINE_string(children, "group",
              "process group of children: \"group\" (a group of its own for "
              "each child), \"session\" (a session of its own) or \"inherit\" "
              "(the group of the server: Ctrl-C ends children too, and a "
              "deadline ends the child without the processes that it started)");
DEFINE_string(
    on_parent_death, "finish",
    "what children do when the process of the server is killed: finish (serve "
    "their connections to the end) or die (end at once)");
DEFINE_string(
    exec_style, "ucspi",
    "what the program finds: ucspi (as tcpserver: descriptors 0 and 1 are the "
    "connection, 2 is the log), inetd (0, 1 and 2 are the connection; in the "
    "directory /) or systemd (0, 1 and 3, with LISTEN_FDS=1)");
DEFINE_string(env, "",
              "a variable that the program has besides PATH, HOME, LANG, LC_*, "
              "TZ and those that describe the connection: NAME=VALUE, or NAME "
              "for the value that the server has; may be repeated");
DEFINE_string(first_byte_timeout, "0",
              "kill the child if the client sends nothing within this time "
              "after accept; 0 turns it off");
DEFINE_string(idle_timeout, "0",
              "kill the child if no byte is received or sent for this long, "
              "and its process uses no processor time; 0 turns it off");
DEFINE_string(
    connection_timeout, "0",
    "kill the child this long after accept, whatever it does; 0 turns it off");
DEFINE_string(
    peer_timeout, "0",
    "end a connection whose client is unreachable, or acknowledges none of the "
    "data sent to it, for this long; 0 for the kernel's defaults");
DEFINE_string(unix_deadlines, "refuse",
              "what first_byte_timeout and idle_timeout mean for unix sockets, "
              "which cannot have them: refuse (an error at start) or "
              "connection_only (unix sockets have connection_timeout alone)");
DEFINE_string(upgrade_timeout, "30s",
              "how long a new program may take until it is ready to accept");
DEFINE_string(log_level, "info",
              "info, warning, error or off; the log is standard error");
DEFINE_string(log_format, "text",
              "text, or json: one object for each line, with the keys of "
              "OpenTelemetry and ECS");
DEFINE_string(log_name, "brood", "name of the server in the log");
DEFINE_bool(log_time, true,
            "begin each line of text with the time of day (UTC), unless the "
            "log is systemd's journal");
DEFINE_int32(log_rate, 1000,
             "limit of info lines about connections in a second, five times as "
             "many in a burst; 0 for no limit");
DEFINE_string(child_stderr, "ahead",
              "standard error of children: own (the log, opened again for each "
              "child), shared, ahead (own with spares and pool, otherwise "
              "shared) or null (/dev/null)");

namespace brood::server {
namespace {

[[noreturn]] void Fail(const absl::Status& status, ExitCode code) {
  // One write, because other programs may write to the same standard error.
  std::fputs(absl::StrCat("brood: ", status.message(), "\n").c_str(), stderr);
  std::exit(static_cast<int>(code));
}

// Returns the exit code of the program for `error`.
ExitCode CodeOf(const absl::Status& error) {
  return absl::IsInvalidArgument(error) ? ExitCode::kUsage
                                        : ExitCode::kSystemRefused;
}

// Ends this process as the last program of the service ended. No signal that
// PID 1 does not handle can end it, so PID 1 exits with the code by which a
// shell reports the signal.
[[noreturn]] void EndLike(const proc::ExitStatus& status) {
  if (!status.killed()) {
    std::exit(status.exited() ? status.code()
                              : static_cast<int>(ExitCode::kSystemRefused));
  }
  if (getpid() != 1) {
    const rlimit none = {};
    setrlimit(RLIMIT_CORE, &none);  // the crash has left a core file already
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, status.signal());
    std::signal(status.signal(), SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &only, nullptr);
    raise(status.signal());
  }
  std::exit(128 + status.signal());
}

// Prints `text` to standard output. Returns the exit code.
int Print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    Fail(absl::ErrnoToStatus(errno, "standard output"),
         ExitCode::kSystemRefused);
  }
  return 0;
}

int PrintThatOptionsAreValid(const Options& options) {
  for (const std::string& sentence : LimitsTooLowFor(options)) {
    std::fputs(absl::StrCat("brood: warning: ", sentence, "\n").c_str(),
               stderr);
  }
  return Print("brood: the configuration is valid\n");
}

// Returns the command with which an upgrade starts the program, or nothing if
// the program is not found.
std::vector<std::string> CommandToRepeat(const char* program,
                                         const GivenFlags& given) {
  std::vector<const char*> command = {program};
  for (const std::string& argument : given.arguments) {
    command.push_back(argument.c_str());
  }
  return OwnCommand(static_cast<int>(command.size()), command.data())
      .value_or(std::vector<std::string>());
}

// Returns the pages of the heap that only the start has used to the kernel: a
// fork copies an entry for each page.
void FreeUnusedPages() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

int Main(int argc, char** argv) {
  // Before signals are blocked: SIGTERM and SIGINT must end the program while
  // it waits for the writer of a pipe with flags.
  const absl::StatusOr<GivenFlags> given = ParseFlags(argc, argv);
  if (!given.ok()) Fail(given.status(), ExitCode::kUsage);
  const Task task = TaskOf(*given);
  if (task == Task::kPrintHelp) return Print(HelpText());
  if (task == Task::kPrintVersion) return Print(VersionText());
  absl::StatusOr<Options> options = OptionsFromFlags(*given);
  if (!options.ok()) Fail(options.status(), ExitCode::kUsage);
  // Before signals are changed: the signals that are ignored at start stay
  // ignored in the program.
  absl::StatusOr<Handler> handler = HandlerFromFlags(*given, &*options);
  if (!handler.ok()) Fail(handler.status(), CodeOf(handler.status()));
  if (task == Task::kCheckConfig) return PrintThatOptionsAreValid(*options);
  ProcessOptions process;
  process.descriptors = ProcessOptions::kUpToHardLimit;
  process.dumpable = options->hardening.dumpable;
  const absl::Status prepared = PrepareProcess(process);
  if (!prepared.ok()) Fail(prepared, ExitCode::kSystemRefused);
  options->upgrade.command = CommandToRepeat(argc > 0 ? argv[0] : "", *given);
  TakeNotifySocket(&*options);
  auto inherited = InheritListeners(options->log);
  if (!inherited.ok()) Fail(inherited.status(), ExitCode::kUsage);
  if (!inherited->empty() &&
      gflags::GetCommandLineFlagInfoOrDie("listen").is_default) {
    options->listen = {"inherited"};
    // The new program of an upgrade inherits them from this one, without the
    // variables of the service manager.
    std::vector<std::string>& command = options->upgrade.command;
    if (!command.empty()) {
      command.insert(command.begin() + 1, "--listen=inherited");
    }
  }
  // A failure only costs speed.
  process.huge_text = FLAGS_huge_text;
  PrepareProcess(process).IgnoreError();
  FreeUnusedPages();
  auto server =
      TcpServer::Create(*options, *std::move(handler), *std::move(inherited));
  if (!server.ok()) {
    Fail(NameFlags(server.status()), ExitCode::kSystemRefused);
  }

  // The first child shows that children can be created, before the server
  // announces that it is ready.
  const absl::StatusOr<bool> first = (*server)->Step(absl::ZeroDuration());
  if (!first.ok()) Fail(first.status(), ExitCode::kSystemRefused);
  const size_t lost = AnnounceReadiness((*server)->endpoints(), STDOUT_FILENO);
  if (lost > 0) {
    std::fputs(absl::StrCat("brood: warning: ", lost,
                            " lines that begin with \"listening\" could not be "
                            "written to standard output\n")
                   .c_str(),
               stderr);
  }
  const absl::Status stopped = (*server)->Run();
  const absl::optional<proc::ExitStatus> last =
      (*server)->last_generation_status();
  server->reset();
  if (last) EndLike(*last);
  if (!stopped.ok()) Fail(stopped, ExitCode::kSystemRefused);
  return 0;
}

}  // namespace
}  // namespace brood::server

int main(int argc, char** argv) { return brood::server::Main(argc, argv); }
