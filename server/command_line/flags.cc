// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/flags.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
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

// Parse() has an overload for each type of a field. On an error the field keeps
// its value.

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
                   ChildStderr* choice) {
  return Store(ParseChildStderr(text), choice);
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   LogLevel* level) {
  return Store(ParseLogLevel(text), level);
}

absl::Status Parse(const Flag& /*flag*/, const std::string& text,
                   LogFormat* format) {
  return Store(ParseLogFormat(text), format);
}

// Sets a field of Options; see Flag::set.
template <auto field>
absl::Status Set(const Flag& flag, const std::string& text, Options* options) {
  return Parse(flag, text, &(options->*field));
}

// Sets a field of a group of Options.
template <auto group, auto field>
absl::Status SetIn(const Flag& flag, const std::string& text,
                   Options* options) {
  return Parse(flag, text, &(options->*group.*field));
}

// Sets the name in the log, the only field that is a text.
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

// Sets the mode of unix sockets, the only number that is octal.
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
constexpr char kPrograms[] = "Programs";
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
    {kProcesses, "stack_canary", "hardening.stack_canary",
     SetIn<&O::hardening, &HardeningOptions::stack_canary>},
    {kProcesses, "dumpable", "hardening.dumpable",
     SetIn<&O::hardening, &HardeningOptions::dumpable>},
    {kProcesses, "oom_score_adj", "hardening.oom_score_adj",
     SetIn<&O::hardening, &HardeningOptions::oom_score_adj>},
    {kProcesses, "oom_score_with_fork", "hardening.oom_score_with_fork",
     SetIn<&O::hardening, &HardeningOptions::oom_score_with_fork>},
    {kProcesses, "huge_text", "", nullptr},
    {kProcesses, "init", "init", Set<&O::init>},
    {kPrograms, "exec_style", "", nullptr},
    {kPrograms, "env", "", nullptr},
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
    {kLogging, "log_rate", "log.rate", SetIn<&O::log, &O::Log::rate>},
    {kLogging, "child_stderr", "child_stderr", Set<&O::child_stderr>},
};

// The flags that request another task than to serve.
constexpr struct {
  const char* name;
  FlagKind kind;
  Task task;
} kCommands[] = {
    {"help", FlagKind::kAnswer, Task::kPrintHelp},
    {"version", FlagKind::kAnswer, Task::kPrintVersion},
    {"check_config", FlagKind::kCommand, Task::kCheckConfig},
};

constexpr char kHelpLists[] = "--help lists every flag";
constexpr char kNoEnvironment[] =
    "flags are read from the command line and from files (--flagfile)";

// The flags that gflags defines in each program.
constexpr struct {
  const char* name;
  const char* remedy;
} kFlagsOfGflags[] = {
    {"fromenv", kNoEnvironment},
    {"tryfromenv", kNoEnvironment},
    {"undefok", "each flag must be known"},
    {"helpfull", kHelpLists},
    {"helpshort", kHelpLists},
    {"helpon", kHelpLists},
    {"helpmatch", kHelpLists},
    {"helppackage", kHelpLists},
    {"helpxml", kHelpLists},
    {"tab_completion_word", kHelpLists},
    {"tab_completion_columns", kHelpLists},
};

absl::Status WithMessage(const absl::Status& status,
                         absl::string_view message) {
  return absl::Status(status.code(), message);
}

bool IsCommand(absl::string_view name) {
  return absl::c_any_of(
      kCommands, [name](const auto& command) { return name == command.name; });
}

// Returns `error`, which begins with the name of a flag, with "FILE:LINE: "
// before it if `given` has the flag from a file.
absl::Status WithPlace(const absl::Status& error, const GivenFlags& given) {
  absl::string_view place;
  for (const GivenFlag& flag : given.flags) {
    absl::string_view rest = error.message();
    if (absl::ConsumePrefix(&rest, absl::StrCat("--", flag.name)) &&
        (absl::StartsWith(rest, "=") || absl::StartsWith(rest, ":"))) {
      place = flag.where;
    }
  }
  if (place.empty()) return error;
  return WithMessage(error, absl::StrCat(place, ": ", error.message()));
}

}  // namespace

absl::Span<const Flag> AllFlags() { return kFlags; }

std::vector<KnownFlag> KnownFlags() {
  std::vector<KnownFlag> known;
  for (const auto& command : kCommands) {
    known.push_back({command.name, command.kind, ""});
  }
  for (const Flag& flag : AllFlags()) {
    gflags::CommandLineFlagInfo info;
    const bool is_bool =
        gflags::GetCommandLineFlagInfo(flag.name, &info) && info.type == "bool";
    known.push_back(
        {flag.name, is_bool ? FlagKind::kBool : FlagKind::kText, ""});
  }
  for (const auto& refused : kFlagsOfGflags) {
    known.push_back({refused.name, FlagKind::kRefused, refused.remedy});
  }
  return known;
}

absl::StatusOr<GivenFlags> ParseFlags(int argc, const char* const* argv) {
  const std::vector<std::string> arguments(argv + std::min(argc, 1),
                                           argv + argc);
  absl::StatusOr<GivenFlags> given = ReadFlags(arguments, KnownFlags());
  if (!given.ok()) return given.status();
  for (const GivenFlag& flag : given->flags) {
    if (IsCommand(flag.name)) continue;
    if (gflags::SetCommandLineOption(flag.name.c_str(), flag.value.c_str())
            .empty()) {
      return absl::InternalError(
          absl::StrCat("--", flag.name, ": gflags refuses the value"));
    }
  }
  return given;
}

Task TaskOf(const GivenFlags& given) {
  Task task = Task::kServe;
  for (const GivenFlag& flag : given.flags) {
    for (const auto& command : kCommands) {
      if (flag.name == command.name) task = command.task;
    }
  }
  return task;
}

absl::StatusOr<Options> OptionsFromFlags(const GivenFlags& given) {
  Options options;
  options.owns_all_children = true;
  for (const Flag& flag : AllFlags()) {
    if (flag.set == nullptr) continue;
    const std::string text =
        gflags::GetCommandLineFlagInfoOrDie(flag.name).current_value;
    const absl::Status set = flag.set(flag, text, &options);
    if (!set.ok()) {
      return WithPlace(WithMessage(set, absl::StrCat("--", set.message())),
                       given);
    }
  }
  const absl::Status valid = options.Validate();
  if (!valid.ok()) return WithPlace(NameFlags(valid), given);
  return options;
}

absl::Status NameFlags(const absl::Status& error) {
  std::string message(error.message());
  // An error begins with the name of its field.
  for (const Flag& flag : AllFlags()) {
    const absl::string_view field = flag.field;
    if (field.empty() || !absl::StartsWith(message, field)) continue;
    const char next = message.c_str()[field.size()];
    if (next != '=' && next != ':') continue;
    message.replace(0, field.size(), absl::StrCat("--", flag.name));
    break;
  }
  // The error may name other fields, which are recognised by their dots.
  std::vector<std::pair<std::string, std::string>> names;
  for (const Flag& flag : AllFlags()) {
    if (!absl::StrContains(flag.field, ".")) continue;
    names.emplace_back(absl::StrCat(" ", flag.field),
                       absl::StrCat(" --", flag.name));
  }
  return WithMessage(error, absl::StrReplaceAll(message, names));
}

}  // namespace brood::server
