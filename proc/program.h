// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_PROGRAM_H_
#define BROOD_PROC_PROGRAM_H_

#include <sys/resource.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/proc/child.h"

namespace brood::proc {

// Program is another program, and what it is started with.
//
// A value. The descriptors stay the caller's.
//
// Example:
//   Program program;
//   program.path = "/usr/bin/env";
//   program.arguments = {"env"};
//   program.environment = {"GREETING=hello"};
//   program.fds = {pipe_fd};  // number 3 in the program
//   absl::StatusOr<Child> child = StartProgram(program);
struct Program {
  // Names the file of the program.
  std::string path;
  // Holds the arguments; the first one is the name of the program.
  std::vector<std::string> arguments;
  // Holds the whole environment, as "NAME=value".
  std::vector<std::string> environment;
  // Become 3, 4, ... in the program. No descriptor above them is open there.
  std::vector<int> fds;
  // Are blocked when the program starts: one that comes before it has set its
  // handlers waits, and does not end it.
  std::vector<int> blocked_signals;
  // Stay ignored in the program if this process ignores them, as those that
  // nohup(1) and shells ignore must. Every other signal has its default action.
  std::vector<int> kept_if_ignored;
  // Is the soft limit of descriptors with which the program starts, for a
  // process that has raised its own; that of this process, if there is none. It
  // is higher if the program has no room for `fds` and a few more.
  // While the program is being started, this process has it too: another thread
  // that opens a descriptor at that moment may find the limit reached.
  absl::optional<rlim_t> descriptors;
};

// Starts `program` as a child of this process, in a process group of its own.
//
// Process: the parent, which may have threads: nothing is copied and no lock is
// needed, because the child shares the memory of the parent until it has become
// the program. Its exit signal is SIGCHLD: a reaper finds its end by its safety
// net, 50 ms later at most.
//
// Errors: the call and the path, as "posix_spawn /usr/bin/server: No such file
// or directory". A file that cannot be executed is such an error, and not a
// child that fails.
absl::StatusOr<Child> StartProgram(const Program& program);

}  // namespace brood::proc

#endif  // BROOD_PROC_PROGRAM_H_
