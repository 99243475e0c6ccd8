// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/flags.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "brood/server/command_line/flagfile.h"
#include "brood/server/log_level.h"
#include "brood/server/strategy_kind.h"
#include "gflags/gflags.h"

namespace brood::server {
namespace {

absl::Status Malformed(const Flag& flag, const std::string& text,
                       absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat(
      flag.name, "=", absl::CHexEscape(text), ": must be ", allowed));
}

// One overload for each type of a field, which stays as it is on an error.

absl::Status Parse(const Flag& flag, const std::string& text, int* number) {
  int parsed;
  if (!absl::SimpleAtoi(text, &parsed)) {
    return Malformed(flag, text, "a whole number below 2^31");
  }
  *number = parsed;
  return absl::OkStatus();
}

absl::Status Parse(const Flag& flag, const std::string& text,
                   absl::Duration* length) {
  absl::Duration parsed;
  if (!absl::ParseDuration(text, &parsed)) {
    return Malformed(flag, text, "a length of time such as 10s or 1m30s");
  }
  *length = parsed;
  return absl::OkStatus();
}

absl::Status Parse(const Flag& flag, const std::string& text, bool* on) {
  bool parsed;
  if (!absl::SimpleAtob(text, &parsed)) {
    return Malformed(flag, text, "true or false");
  }
  *on = parsed;
  return absl::OkStatus();
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   std::vector<std::string>* list) {
  *list = absl::StrSplit(text, ',');
  return absl::OkStatus();
}

template <typename Value>
absl::Status Store(const absl::StatusOr<Value>& parsed, Value* field) {
  if (parsed.ok()) *field = *parsed;
  return parsed.status();
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   StrategyKind* kind) {
  return Store(ParseStrategyKind(text), kind);
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   OnParentDeath* choice) {
  return Store(ParseOnParentDeath(text), choice);
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   ChildGroup* choice) {
  return Store(ParseChildGroup(text), choice);
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   UnixDeadlines* choice) {
  return Store(ParseUnixDeadlines(text), choice);
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   LogLevel* level) {
  return Store(ParseLogLevel(text), level);
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   LogFormat* format) {
  return Store(ParseLogFormat(text), format);
}

// What Flag::set is for a field of Options,
template <auto field>
absl::Status Set(const Flag& flag, const std::string& text, Options* options) {
  return Parse(flag, text, &(options->*field));
}

// for a field of one of its groups,
template <auto group, auto field>
absl::Status SetIn(const Flag& flag, const std::string& text,
                   Options* options) {
  return Parse(flag, text, &(options->*group.*field));
}

// for the one text,
absl::Status SetLogName(const Flag& flag, const std::string& text,
                        Options* options) {
  Options named;
  named.log.name = text;
  if (!named.Validate().ok()) {
    return Malformed(flag, text, "1 to 64 printable characters of ASCII");
  }
  options->log.name = text;
  return absl::OkStatus();
}

// and for the one number that is octal.
absl::Status SetUnixMode(const Flag& flag, const std::string& text,
                         Options* options) {
  const bool octal = !text.empty() && text.size() <= 4 &&
                     text.find_first_not_of("01234567") == std::string::npos;
  const int mode = octal ? std::stoi(text, nullptr, 8) : -1;
  if (mode < 0 || mode > 0777) {
    return Malformed(flag, text, "octal, 0000 to 0777, such as 0600");
  }
  options->unix_mode = mode;
  return absl::OkStatus();
}

constexpr char kListening[] = "Listening";
constexpr char kProcesses[] = "Processes";
constexpr char kDeadlines[] = "Deadlines";
constexpr char kStopping[] = "Stopping and upgrading";
constexpr char kLogging[] = "Logging";

using O = Options;

constexpr Flag kFlags[] = {
    {kListening, "listen", "listen", Set<&O::listen>},
    {kListening, "backlog", "backlog", Set<&O::backlog>},
    {kListening, "unix_mode", "unix_mode", SetUnixMode},
    {kProcesses, "strategy", "strategy", Set<&O::strategy>},
    {kProcesses, "max_connections", "max_connections",
     Set<&O::max_connections>},
    {kProcesses, "max_size", "max_size", Set<&O::max_size>},
    {kProcesses, "linger", "linger", Set<&O::linger>},
    {kProcesses, "min_spares", "spares.min",
     SetIn<&O::spares, &O::Spares::min>},
    {kProcesses, "max_spares", "spares.max",
     SetIn<&O::spares, &O::Spares::max>},
    {kProcesses, "workers", "pool.workers", SetIn<&O::pool, &O::Pool::workers>},
    {kProcesses, "max_connections_per_worker", "pool.max_connections",
     SetIn<&O::pool, &O::Pool::max_connections>},
    {kProcesses, "children", "children", Set<&O::children>},
    {kProcesses, "huge_text", "", nullptr},
    {kProcesses, "init", "init", Set<&O::init>},
    {kDeadlines, "first_byte_timeout", "deadlines.first_byte",
     SetIn<&O::deadlines, &O::Deadlines::first_byte>},
    {kDeadlines, "idle_timeout", "deadlines.idle",
     SetIn<&O::deadlines, &O::Deadlines::idle>},
    {kDeadlines, "connection_timeout", "deadlines.connection",
     SetIn<&O::deadlines, &O::Deadlines::connection>},
    {kDeadlines, "peer_timeout", "deadlines.peer",
     SetIn<&O::deadlines, &O::Deadlines::peer>},
    {kDeadlines, "unix_deadlines", "unix_deadlines", Set<&O::unix_deadlines>},
    {kStopping, "drain_grace", "drain_grace", Set<&O::drain_grace>},
    {kStopping, "upgrade_timeout", "upgrade.timeout",
     SetIn<&O::upgrade, &O::Upgrade::timeout>},
    {kStopping, "on_parent_death", "on_parent_death", Set<&O::on_parent_death>},
    {kLogging, "log_level", "log.level", SetIn<&O::log, &O::Log::level>},
    {kLogging, "log_format", "log.format", SetIn<&O::log, &O::Log::format>},
    {kLogging, "log_name", "log.name", SetLogName},
    {kLogging, "log_time", "log.time", SetIn<&O::log, &O::Log::time>},
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

absl::Status WithMessage(const absl::Status& status,
                         absl::string_view message) {
  return absl::Status(status.code(), message);
}

}  // namespace

absl::Span<const Flag> AllFlags() { return kFlags; }

absl::Status ParseFlags(int argc, char** argv) {
  absl::Status known = CheckFlags(argc, argv);
  if (!known.ok()) return known;
  gflags::ParseCommandLineNonHelpFlags(&argc, &argv, /*remove_flags=*/true);
  if (argc > 1 && !IsHelpRequested()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(argv[1]),
                     "\" is not a flag; --help lists what is allowed"));
  }
  return absl::OkStatus();
}

bool IsHelpRequested() {
  for (const char* name : {"help", "helpfull", "helpshort"}) {
    std::string value;
    if (gflags::GetCommandLineOption(name, &value) && value == "true") {
      return true;
    }
  }
  return false;
}

std::string HelpText() {
  std::string help(kUsage);
  absl::string_view group;
  for (const Flag& flag : AllFlags()) {
    if (flag.group != group) absl::StrAppend(&help, "\n", flag.group, "\n");
    group = flag.group;
    const gflags::CommandLineFlagInfo info =
        gflags::GetCommandLineFlagInfoOrDie(flag.name);
    absl::StrAppend(&help, "  --", info.name, "=", info.default_value,
                    "\n      ", info.description, "\n");
  }
  absl::StrAppend(&help, kSignalsAndCodes);
  return help;
}

absl::StatusOr<Options> OptionsFromFlags() {
  Options options;
  options.owns_all_children = true;
  for (const Flag& flag : AllFlags()) {
    if (flag.set == nullptr) continue;
    const std::string text =
        gflags::GetCommandLineFlagInfoOrDie(flag.name).current_value;
    const absl::Status set = flag.set(flag, text, &options);
    if (!set.ok()) return WithMessage(set, absl::StrCat("--", set.message()));
  }
  const absl::Status valid = options.Validate();
  if (!valid.ok()) return NameFlags(valid);
  return options;
}

absl::Status NameFlags(const absl::Status& error) {
  std::string message(error.message());
  // An error begins with the field that it is about.
  for (const Flag& flag : AllFlags()) {
    const absl::string_view field = flag.field;
    if (field.empty() || !absl::StartsWith(message, field)) continue;
    const char next = message.c_str()[field.size()];
    if (next != '=' && next != ':') continue;
    message.replace(0, field.size(), absl::StrCat("--", flag.name));
    break;
  }
  // It may name others, which are known by their dots.
  std::vector<std::pair<std::string, std::string>> names;
  for (const Flag& flag : AllFlags()) {
    if (!absl::StrContains(flag.field, ".")) continue;
    names.emplace_back(absl::StrCat(" ", flag.field),
                       absl::StrCat(" --", flag.name));
  }
  return WithMessage(error, absl::StrReplaceAll(message, names));
}

}  // namespace brood::server
