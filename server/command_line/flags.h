// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_COMMAND_LINE_FLAGS_H_
#define BROOD_SERVER_COMMAND_LINE_FLAGS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "brood/server/command_line/flag_reader.h"
#include "brood/server/options.h"

namespace brood::server {

// Flag is one flag of the standalone program, and the field of Options that it
// sets.
//
// Names, texts and defaults of the flags are defined in main.cc, so that a
// program that embeds a server gets no flags of Brood. Everything else about
// them is in one table in flags.cc: a new flag is a line in main.cc and a row
// in that table.
//
// Runs in the parent, before there is a server, in one thread.
//
// Example:
//   absl::StatusOr<GivenFlags> given = ParseFlags(argc, argv);
//   if (!given.ok()) return given.status();
//   absl::StatusOr<Options> options = OptionsFromFlags(*given);
struct Flag {
  // Names the group of --help that lists the flag.
  const char* group;

  // Names the flag, without dashes.
  const char* name;

  // Names the field of Options as an embedder spells it. Empty for a flag that
  // concerns the program and not the server.
  const char* field;

  // Sets the field of `options` from the text of the flag. Returns
  // InvalidArgument, beginning with "NAME=TEXT: ", and leaves the field as it
  // is if the text is malformed. Null if there is no field.
  absl::Status (*set)(const Flag& flag, const std::string& text,
                      Options* options);
};

// Returns every flag of the program, in the order of --help.
absl::Span<const Flag> AllFlags();

// Returns the flags that ReadFlags() must know: AllFlags(), the commands of the
// program, and the flags of gflags, which are refused.
std::vector<KnownFlag> KnownFlags();

// Reads the command line and the files that it names, and sets the flags of
// gflags, which reads neither. Returns the errors of ReadFlags().
absl::StatusOr<GivenFlags> ParseFlags(int argc, const char* const* argv);

// Task is what a command line asks the program to do.
enum class Task { kServe, kCheckConfig, kPrintHelp, kPrintVersion };

// Returns the task for which `given` asks.
Task TaskOf(const GivenFlags& given);

// Returns the options that the flags describe. Returns InvalidArgument, naming
// the flag and the file that has it ("a.conf:3: --min_spares=0: must be 1 to
// 100000"), if a value is not allowed.
absl::StatusOr<Options> OptionsFromFlags(const GivenFlags& given);

// Returns `error` with the names of flags in place of the names of fields: an
// error about "spares.min" becomes one about "--min_spares".
absl::Status NameFlags(const absl::Status& error);

}  // namespace brood::server

#endif  // BROOD_SERVER_COMMAND_LINE_FLAGS_H_
