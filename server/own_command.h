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
// For main(), before it parses the command line (some parsers take arguments
// out of it). The path is that by which the program was called, and not that of
// the file which it turned out to be: a link that points to another version by
// then leads to that one.
//   /opt/current/server   as it is
//   ./server              in $PWD, if that still names the working directory
//   server                the entry of PATH, if that is the file which runs
// Otherwise it is the working directory as the kernel knows it, or the file
// that runs.
//
// Errors: the call, if the program cannot tell where it is.
//
// Example:
//   Options options;
//   absl::StatusOr<std::vector<std::string>> command = OwnCommand(argc, argv);
//   if (command.ok()) options.upgrade.command = *command;
absl::StatusOr<std::vector<std::string>> OwnCommand(int argc,
                                                    const char* const* argv);

}  // namespace brood::server

#endif  // BROOD_SERVER_OWN_COMMAND_H_
