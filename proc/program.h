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

// Program describes how another program is started.
//
// A value. The caller still owns the descriptors.
//
// Example:
//   Program program;
//   program.path = "/usr/bin/env";
//   program.arguments = {"env"};
//   program.environment = {"GREETING=hello"};
//   program.fds = {pipe_fd};  // number 3 in the program
//   absl::StatusOr<Child> child = StartProgram(program);
struct Program {
  // The path of the file of the program.
  std::string path;
  // The arguments; the first one is the name of the program.
  std::vector<std::string> arguments;
  // The whole environment, as "NAME=value".
  std::vector<std::string> environment;
  // The descriptors that become 3, 4, ... in the program. No descriptor above
  // them is open there.
  std::vector<int> fds;
  // The signals that are blocked when the program starts: a signal that arrives
  // before the program has set its handlers waits, and does not end it.
  std::vector<int> blocked_signals;
  // The signals that stay ignored in the program if this process ignores them,
  // as nohup(1) and shells require. Every other signal has its default action.
  std::vector<int> kept_if_ignored;
  // The soft limit of descriptors with which the program starts, for a process
  // that has raised its own; if not set, the program has the limit of this
  // process. It is raised if it leaves no room for `fds` and a few more. While
  // the program is being started, this process has that limit too: another
  // thread that opens a descriptor at that moment may find the limit reached.
  absl::optional<rlim_t> descriptors;
};

// Starts `program` as a child of this process, in a new process group.
//
// Called in the parent, which may have threads: the child shares the memory of
// the parent until it has become the program, so that nothing is copied and no
// lock is needed. The exit signal of the child is SIGCHLD: a reaper finds its
// end by its sweep, at most 50 ms later.
//
// Errors: name the call and the path, as in "posix_spawn /usr/bin/server: No
// such file or directory". A file that cannot be executed is an error here, and
// not a child that fails.
absl::StatusOr<Child> StartProgram(const Program& program);

}  // namespace brood::proc

#endif  // BROOD_PROC_PROGRAM_H_
