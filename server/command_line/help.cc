// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/help.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "brood/server/command_line/flags.h"
#include "brood/server/text/version.h"
#include "gflags/gflags.h"

namespace brood::server {
namespace {

constexpr absl::string_view kUsage =
    "usage: server [--FLAG=VALUE ...] [-- PROGRAM [ARG ...]]\n"
    "\n"
    "Serves TCP connections, each in a process of its own. Each connection is\n"
    "the standard input and output of a PROGRAM; without one the server sends\n"
    "every byte back. Prints \"listening ADDRESS:PORT\" for each listener "
    "once\n"
    "connections are accepted.\n"
    "\n"
    "Examples\n"
    "  server --listen=:7000 -- cat\n"
    "  server --listen=:9418 --max_connections=64 -- \\\n"
    "      git daemon --inetd --export-all --base-path=/srv/git\n"
    "  server --listen=:2222 --exec_style=inetd -- /usr/sbin/sshd -i\n"
    "  server --listen=:8000 --idle_timeout=30s --env=MODE=test -- \\\n"
    "      sh -c 'echo \"$TCPREMOTEIP $MODE\"'\n"
    "  server --listen=unix:/run/time.sock --strategy=spares -- date -u\n";

// The flags that are not settings of a server.
constexpr struct {
  const char* form;
  const char* text;
} kProgramFlags[] = {
    {"--flagfile=PATH",
     "reads flags from a file, a line for each; several "
     "paths are separated by commas"},
    {"--check_config",
     "checks the flags, prints the result and ends; binds "
     "nothing"},
    {"--version", "prints the version and ends"},
    {"--help", "prints this text and ends"},
};

constexpr absl::string_view kSignalsAndCodes =
    "\n"
    "Signals\n"
    "  SIGTERM, SIGINT   stop: serve waiting clients, let children finish; "
    "the\n"
    "                    second one stops at once\n"
    "  SIGUSR2, SIGHUP   upgrade: start the program at the same path with the\n"
    "                    same arguments, and let it take over once it is "
    "ready\n"
    "\n"
    "Exit codes\n"
    "  0 stopped as requested, 100 wrong command line, 111 the system "
    "refused\n";

void AppendFlag(absl::string_view form, absl::string_view text,
                std::string* help) {
  constexpr size_t kIndent = 6;
  absl::StrAppend(help, "  ", form, "\n", Wrapped(text, kIndent));
}

}  // namespace

std::string HelpText() {
  std::string help(kUsage);
  absl::string_view group;
  for (const Flag& flag : AllFlags()) {
    if (flag.group != group) absl::StrAppend(&help, "\n", flag.group, "\n");
    group = flag.group;
    const gflags::CommandLineFlagInfo info =
        gflags::GetCommandLineFlagInfoOrDie(flag.name);
    AppendFlag(absl::StrCat("--", info.name, "=", info.default_value),
               info.description, &help);
  }
  absl::StrAppend(&help, "\nProgram\n");
  for (const auto& flag : kProgramFlags) {
    AppendFlag(flag.form, flag.text, &help);
  }
  absl::StrAppend(&help, kSignalsAndCodes);
  return help;
}

std::string VersionText() { return absl::StrCat("brood ", kVersion, "\n"); }

std::string Wrapped(absl::string_view text, size_t indent) {
  std::string lines;
  size_t column = 0;
  for (const absl::string_view word :
       absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column > 0 && column + 1 + word.size() <= kHelpColumns) {
      absl::StrAppend(&lines, " ", word);
      column += 1 + word.size();
      continue;
    }
    absl::StrAppend(&lines, column > 0 ? "\n" : "", std::string(indent, ' '),
                    word);
    column = indent + word.size();
  }
  if (column > 0) lines += '\n';
  return lines;
}

}  // namespace brood::server
