// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_EXEC_PROGRAM_FILE_H_
#define BROOD_SERVER_EXEC_PROGRAM_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace brood::server {

// Returns the absolute path of the program `name`, as a shell finds it: a name
// with a slash is a path, relative to the working directory, and another one is
// looked up in `directories`, which are separated by colons as in PATH. An
// empty directory is the working directory. Runs in the parent, at start.
//
// Returns an error that begins with "program=NAME: " if there is no such file,
// or if this process may not execute it: NotFound or PermissionDenied. If the
// file changes later, the changed file is executed.
//
// Example:
//   absl::StatusOr<std::string> cat = FindProgram("cat", "/usr/bin:/bin");
absl::StatusOr<std::string> FindProgram(absl::string_view name,
                                        absl::string_view directories);

}  // namespace brood::server

#endif  // BROOD_SERVER_EXEC_PROGRAM_FILE_H_
