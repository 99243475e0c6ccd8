// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_COMMAND_LINE_FLAG_READER_H_
#define BROOD_SERVER_COMMAND_LINE_FLAG_READER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace brood::server {

// FlagKind is the form in which a flag is written.
enum class FlagKind {
  kText,     // --name=value; on the command line also --name value
  kBool,     // --name, --noname, --name=true, --name=false
  kCommand,  // --name; on the command line only
  kAnswer,   // as kCommand; later arguments are not read
  kRefused,  // never; the error has the remedy
};

// KnownFlag is a flag that ReadFlags() knows.
struct KnownFlag {
  std::string name;
  FlagKind kind = FlagKind::kText;

  // Tells the user of a refused flag what to do instead.
  std::string remedy;
};

// GivenFlag is a flag on the command line or in a file.
struct GivenFlag {
  std::string name;

  // The text after "=". For a kBool "true" or "false"; for a command empty.
  std::string value;

  // Holds the place of the flag: "FILE:LINE", escaped for a message. Empty for
  // the command line.
  std::string where;
};

// GivenFlags is what ReadFlags() has read.
struct GivenFlags {
  // Holds the flags in the order of reading. Of two flags with one name the
  // later one counts.
  std::vector<GivenFlag> flags;

  // Holds the arguments with which a program that is started later gets the
  // same flags. They are the arguments that were read, but a file that cannot
  // be read again (a pipe) is replaced by its flags. A regular file is still
  // named, so that the new program reads its current contents.
  std::vector<std::string> arguments;

  // Holds what follows "--": a program and its arguments. Empty if there is no
  // "--".
  std::vector<std::string> program;
};

// Reads `arguments` (without the name of the program) and, at its place, each
// file that a --flagfile=PATH,PATH... names. No other code reads the command
// line or these files.
//
// A line of a file is blank, a comment (#) or one flag; white space around it
// is ignored, and a line may end in CR LF. A file may name files, but no pipes.
// "--" ends the flags; the rest of the command line is a program.
//
// Runs in the parent, before there is a server.
//
// Returns InvalidArgument for "--" without a program, for an argument that is
// not a flag of `known`, for a value that is missing or not allowed for its
// kind, and for a file that cannot be read. If the reason is in a file, the
// message begins with "FILE:LINE:".
//
// Example:
//   absl::StatusOr<GivenFlags> given =
//       ReadFlags({"--listen=:7000"}, {{"listen", FlagKind::kText, ""}});
absl::StatusOr<GivenFlags> ReadFlags(absl::Span<const std::string> arguments,
                                     absl::Span<const KnownFlag> known);

}  // namespace brood::server

#endif  // BROOD_SERVER_COMMAND_LINE_FLAG_READER_H_
