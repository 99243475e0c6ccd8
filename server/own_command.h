// OwnCommand: with which command this program was started, so that it can be
// started again.
//
// For main(), before it parses the command line (some parsers take arguments
// out of it). The path is that by which the program was called, not that of the
// file which it turned out to be: a link that points to another version by then
// leads to that one. It is made absolute. A program that was called by its bare
// name is the file that runs now.
//
// Errors: the call, if the program can't tell where it is.
//
// Example:
//   Options options;
//   absl::StatusOr<std::vector<std::string>> command = OwnCommand(argc, argv);
//   if (command.ok()) options.upgrade.command = *command;

#ifndef BROOD_SERVER_OWN_COMMAND_H_
#define BROOD_SERVER_OWN_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace brood::server {

// The path of the program, then its arguments.
absl::StatusOr<std::vector<std::string>> OwnCommand(int argc,
                                                    const char* const* argv);

}  // namespace brood::server

#endif  // BROOD_SERVER_OWN_COMMAND_H_
