// The standalone server: an echo server at the end of a command line.
//
// The only file of the tree that defines flags, so that embedders inherit none.
// Exit codes: 0 stopped as asked; 100 the command line is wrong; 111 the system
// refused (a port in use, no memory).

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/proc/memory/huge_text.h"
#include "brood/server/command_line/flagfile.h"
#include "brood/server/control/request_signals.h"
#include "brood/server/echo_handler.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/own_command.h"
#include "brood/server/readiness.h"
#include "brood/server/socket_activation.h"
#include "brood/server/tcp_server.h"
#include "gflags/gflags.h"

// Numbers and lengths are strings here, converted below: so a wrong value gets
// a message that says what is allowed.
DEFINE_string(listen, "127.0.0.1:7000",
              "endpoints, separated by commas: 127.0.0.1:7000, [::1]:7000, "
              "localhost:7000, or :7000 for every address (port 0 picks a free "
              "one); unix:/PATH; fd:N for a descriptor that listens; inherited "
              "for those of the service manager (LISTEN_FDS), which is the "
              "default if there are any");
DEFINE_string(backlog, "0",
              "length of the kernel's queue of waiting clients; 0 for the "
              "longest that the machine allows");
DEFINE_string(unix_mode, "0600",
              "permissions of the file of a unix socket, in octal: who may "
              "write to it may connect");
DEFINE_string(strategy, "fork",
              "how processes are made: fork, spares (forked ahead), pool "
              "(reused), zygote (forked from a small process) or auto");
DEFINE_string(min_spares, "4",
              "strategy spares: how many wait for a connection");
DEFINE_string(max_spares, "32",
              "strategy spares: how many may, when they were too few");
DEFINE_string(workers, "16", "strategy pool: how many processes there are");
DEFINE_string(max_connections_per_worker, "1000",
              "strategy pool: connections that a process serves, more or less "
              "by a quarter, before it is replaced");
DEFINE_string(max_connections, "1000",
              "children alive at once; more clients wait in the queue");
DEFINE_bool(huge_text, true,
            "keep the program's code on huge pages, if the machine has any: "
            "children start and end faster");
DEFINE_string(max_size, "1024", "bytes read at a time by the echo handler");
DEFINE_bool(init, false,
            "be the init process of a container: adopt and bury orphans");
DEFINE_string(drain_grace, "10s",
              "from SIGTERM until children are terminated, then killed");
DEFINE_string(on_parent_death, "finish",
              "what children do when the server's process is killed: finish "
              "(serve their connections to the end) or die (with it)");
DEFINE_string(first_byte_timeout, "0",
              "a client that sends nothing for so long after it was accepted "
              "loses its child; 0 for never");
DEFINE_string(idle_timeout, "0",
              "so does one on whose connection nothing comes or goes");
DEFINE_string(connection_timeout, "0",
              "so does every one, so long after it was accepted");
DEFINE_string(peer_timeout, "0",
              "a connection ends when its client has been gone from the "
              "network, or has taken nothing of what it is sent, for so long; "
              "0 for the kernel's defaults");
DEFINE_string(upgrade_timeout, "30s",
              "how long a new program may take to be ready to accept");
DEFINE_string(log_level, "info",
              "info, warning, error or off; the log is standard error");

namespace gflags {
// gflags ends the program through this pointer; its own default is exit(1).
extern void (*gflags_exitfunc)(int);
}  // namespace gflags

namespace brood::server {
namespace {

struct FlagGroup {
  const char* title;
  std::vector<const char*> flags;
};

const FlagGroup kFlagGroups[] = {
    {"Listening", {"listen", "backlog", "unix_mode"}},
    {"Processes",
     {"strategy", "max_connections", "max_size", "min_spares", "max_spares",
      "workers", "max_connections_per_worker", "huge_text", "init"}},
    {"Deadlines",
     {"first_byte_timeout", "idle_timeout", "connection_timeout",
      "peer_timeout"}},
    {"Stopping and upgrading",
     {"drain_grace", "upgrade_timeout", "on_parent_death"}},
    {"Logging", {"log_level"}},
};

constexpr absl::string_view kUsage =
    "usage: server [--FLAG=VALUE ...]\n"
    "\n"
    "Serves TCP connections, each in a process of its own. The handler of\n"
    "this program gives every byte back. Prints \"listening ADDRESS:PORT\"\n"
    "for each listener once connections are accepted.\n";

constexpr absl::string_view kSignalsAndCodes =
    "\n"
    "Signals\n"
    "  SIGTERM, SIGINT   stop: serve who is waiting, let children finish; the\n"
    "                    second one stops at once\n"
    "  SIGUSR2, SIGHUP   upgrade: start the program at the same path with the\n"
    "                    same arguments, and let it take over once it is "
    "ready\n"
    "\n"
    "Exit codes\n"
    "  0 stopped as asked, 100 wrong command line, 111 the system refused\n";

void PrintHelp() {
  std::string help(kUsage);
  for (const FlagGroup& group : kFlagGroups) {
    absl::StrAppend(&help, "\n", group.title, "\n");
    for (const char* name : group.flags) {
      const gflags::CommandLineFlagInfo flag =
          gflags::GetCommandLineFlagInfoOrDie(name);
      absl::StrAppend(&help, "  --", flag.name, "=", flag.default_value,
                      "\n      ", flag.description, "\n");
    }
  }
  absl::StrAppend(&help, kSignalsAndCodes);
  std::fputs(help.c_str(), stdout);
}

[[noreturn]] void Fail(const absl::Status& status, ExitCode code) {
  std::fprintf(stderr, "brood: %s\n", std::string(status.message()).c_str());
  std::exit(static_cast<int>(code));
}

absl::Status ParseNumber(const char* flag, const std::string& text,
                         int* number) {
  if (absl::SimpleAtoi(text, number)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, "=", absl::CHexEscape(text),
                   ": must be a whole number below 2^31"));
}

absl::Status ParseMode(const char* flag, const std::string& text, int* mode) {
  const bool octal = !text.empty() && text.size() <= 4 &&
                     text.find_first_not_of("01234567") == std::string::npos;
  if (octal) *mode = std::stoi(text, nullptr, 8);
  if (octal && *mode <= 0777) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, "=", absl::CHexEscape(text),
                   ": must be octal, 0000 to 0777, such as 0600"));
}

absl::Status ParseLength(const char* flag, const std::string& text,
                         absl::Duration* length) {
  if (absl::ParseDuration(text, length)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, "=", absl::CHexEscape(text),
                   ": must be a length of time such as 10s or 1m30s"));
}

absl::StatusOr<Options> OptionsFromFlags() {
  Options options;
  options.listen = absl::StrSplit(FLAGS_listen, ',');
  options.owns_all_children = true;
  options.init = FLAGS_init;
  const absl::StatusOr<LogLevel> log_level = ParseLogLevel(FLAGS_log_level);
  if (log_level.ok()) options.log.level = *log_level;
  const absl::StatusOr<StrategyKind> strategy =
      ParseStrategyKind(FLAGS_strategy);
  if (strategy.ok()) options.strategy = *strategy;
  const absl::StatusOr<OnParentDeath> on_parent_death =
      ParseOnParentDeath(FLAGS_on_parent_death);
  if (on_parent_death.ok()) options.on_parent_death = *on_parent_death;
  for (const absl::Status& parsed :
       {ParseNumber("backlog", FLAGS_backlog, &options.backlog),
        ParseMode("unix_mode", FLAGS_unix_mode, &options.unix_mode),
        ParseNumber("max_connections", FLAGS_max_connections,
                    &options.max_connections),
        ParseNumber("max_size", FLAGS_max_size, &options.max_size),
        ParseNumber("min_spares", FLAGS_min_spares, &options.spares.min),
        ParseNumber("max_spares", FLAGS_max_spares, &options.spares.max),
        ParseNumber("workers", FLAGS_workers, &options.pool.workers),
        ParseNumber("max_connections_per_worker",
                    FLAGS_max_connections_per_worker,
                    &options.pool.max_connections),
        ParseLength("drain_grace", FLAGS_drain_grace, &options.drain_grace),
        ParseLength("first_byte_timeout", FLAGS_first_byte_timeout,
                    &options.deadlines.first_byte),
        ParseLength("idle_timeout", FLAGS_idle_timeout,
                    &options.deadlines.idle),
        ParseLength("connection_timeout", FLAGS_connection_timeout,
                    &options.deadlines.connection),
        ParseLength("peer_timeout", FLAGS_peer_timeout,
                    &options.deadlines.peer),
        ParseLength("upgrade_timeout", FLAGS_upgrade_timeout,
                    &options.upgrade.timeout),
        strategy.status(), on_parent_death.status(), log_level.status(),
        options.Validate()}) {
    if (!parsed.ok()) return parsed;
  }
  return options;
}

// A program may be started without its standard descriptors. The next ones to
// be opened would take their numbers, and a listener on 2 would be sent the
// log.
void OpenStandardDescriptors() {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd > STDERR_FILENO) close(fd);
}

// Answers --help, and refuses what is not a flag.
void ParseCommandLine(int argc, char** argv) {
  const absl::Status known = CheckFlags(argc, argv);
  if (!known.ok()) Fail(known, ExitCode::kUsage);
  gflags::gflags_exitfunc = [](int code) {
    std::exit(code == 0 ? 0 : static_cast<int>(ExitCode::kUsage));
  };
  gflags::ParseCommandLineNonHelpFlags(&argc, &argv, /*remove_flags=*/true);
  for (const char* question : {"help", "helpfull", "helpshort"}) {
    std::string asked;
    if (gflags::GetCommandLineOption(question, &asked) && asked == "true") {
      PrintHelp();
      std::exit(0);
    }
  }
  if (argc > 1) {
    Fail(absl::InvalidArgumentError(
             absl::StrCat("\"", absl::CHexEscape(argv[1]),
                          "\" is not a flag; --help lists what is allowed")),
         ExitCode::kUsage);
  }
}

int Main(int argc, char** argv) {
  RequestSignals::BlockForGood();
  OpenStandardDescriptors();
  const auto own_command = OwnCommand(argc, argv);
  ParseCommandLine(argc, argv);
  absl::StatusOr<Options> options = OptionsFromFlags();
  if (!options.ok()) {
    Fail(absl::InvalidArgumentError(
             absl::StrCat("--", options.status().message())),
         ExitCode::kUsage);
  }
  if (own_command.ok()) options->upgrade.command = *own_command;
  TakeNotifySocket(&*options);
  auto inherited = InheritListeners();
  if (!inherited.ok()) Fail(inherited.status(), ExitCode::kUsage);
  if (!inherited->empty() &&
      gflags::GetCommandLineFlagInfoOrDie("listen").is_default) {
    options->listen = {"inherited"};
    // A successor gets them from us, and no variable that says so.
    if (own_command.ok()) {
      options->upgrade.command.insert(options->upgrade.command.begin() + 1,
                                      "--listen=inherited");
    }
  }
  // Without, it is slower, and no worse.
  if (FLAGS_huge_text) proc::MoveTextToHugePages().IgnoreError();
  auto server = TcpServer::Create(
      *options, EchoHandler(static_cast<size_t>(options->max_size)),
      *std::move(inherited));
  if (!server.ok()) Fail(server.status(), ExitCode::kSystemRefused);

  AnnounceReadiness((*server)->endpoints(), STDOUT_FILENO);
  const absl::Status stopped = (*server)->Run();
  if (!stopped.ok()) Fail(stopped, ExitCode::kSystemRefused);
  return 0;
}

}  // namespace
}  // namespace brood::server

int main(int argc, char** argv) { return brood::server::Main(argc, argv); }
