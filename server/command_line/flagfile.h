// CheckFlags: refuses what gflags would let pass, or refuse with less of an
// explanation.
//
// That is an argument that is no flag of this program, a switch that is neither
// on nor off, and the same in a --flagfile, where gflags skips what it does not
// know, what has no value, and what comes after a NUL or a stray carriage
// return. For main(), before gflags parses the command line. Reads the files
// that --flagfile names, and nothing else.
//
// Errors: InvalidArgument that names the flag, and the file if it is in one.
//
// Example:
//   const absl::Status known = CheckFlags(argc, argv);
//   if (!known.ok()) Fail(known, ExitCode::kUsage);

#ifndef BROOD_SERVER_COMMAND_LINE_FLAGFILE_H_
#define BROOD_SERVER_COMMAND_LINE_FLAGFILE_H_

#include "absl/status/status.h"

namespace brood::server {

absl::Status CheckFlags(int argc, const char* const* argv);

}  // namespace brood::server

#endif  // BROOD_SERVER_COMMAND_LINE_FLAGFILE_H_
