// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_OWN_COMMAND_H_
#define BROOD_SERVER_OWN_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace brood::server {

// Returns the command with which this program was started, so that it can be
// started again: the absolute path of the program, then its arguments.
//
// Call it in main(), before the command line is parsed (some parsers remove
// arguments). The path is the one by which the program was called, and not that
// of the file to which it led: if it is a link that leads to another version
// later, that version is started.
//   /opt/current/server   as it is
//   ./server              in $PWD, if that still names the working directory
//   server                the entry of PATH, if that is the file which runs
// Where that does not hold, the path begins with the working directory as the
// kernel reports it, or is that of the file that runs.
//
// Returns the error of the system call if the program cannot find out where it
// is.
//
// Example:
//   Options options;
//   absl::StatusOr<std::vector<std::string>> command = OwnCommand(argc, argv);
//   if (command.ok()) options.upgrade.command = *command;
absl::StatusOr<std::vector<std::string>> OwnCommand(int argc,
                                                    const char* const* argv);

}  // namespace brood::server

#endif  // BROOD_SERVER_OWN_COMMAND_H_
