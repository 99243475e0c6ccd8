// StartProgram: another program, started as a child of this process.
//
// Called in the parent, which may have threads: nothing is copied and no lock
// is needed, since the child shares the parent's memory until it has become the
// program. The program starts with its standard descriptors, with exactly the
// others that it is to have, with default signal dispositions and with the
// given signals blocked: one of these that comes before the program has said
// what it wants with them waits instead of killing it.
//
// Its exit signal is SIGCHLD: a reaper finds its end by its safety net, 50 ms
// later at most.
//
// Errors: the call and the path, as "posix_spawn /usr/bin/server: No such file
// or directory". A file that can't be executed is such an error, not a child
// that fails. Ownership: the descriptors stay the caller's.
//
// Example:
//   Program program;
//   program.path = "/usr/bin/env";
//   program.arguments = {"env"};
//   program.environment = {"GREETING=hello"};
//   program.fds = {pipe_fd};  // number 3 in the program
//   absl::StatusOr<Child> child = StartProgram(program);

#ifndef BROOD_PROC_PROGRAM_H_
#define BROOD_PROC_PROGRAM_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/proc/child.h"

namespace brood::proc {

struct Program {
  std::string path;
  std::vector<std::string> arguments;    // its own name is the first
  std::vector<std::string> environment;  // "NAME=value"
  // Become 3, 4, ... in the program; above them nothing is open.
  std::vector<int> fds;
  std::vector<int> blocked_signals;
};

absl::StatusOr<Child> StartProgram(const Program& program);

}  // namespace brood::proc

#endif  // BROOD_PROC_PROGRAM_H_
