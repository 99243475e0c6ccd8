// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_INTERNAL_PROC_FILES_H_
#define BROOD_TESTING_INTERNAL_PROC_FILES_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace brood::testing {

// The functions below read /proc, for the census and the description of a
// server process that does not end. They work on any process of the same user,
// in any process. For a process that has ended, and for what may not be read,
// they return something empty rather than an error: in a test a process ends at
// any time.
//
// Example:
//   for (pid_t child : ChildrenOf(server)) std::cout << ReadStat(child).state;

// Returns the whole file, without its last newline.
std::string ReadProcFile(const std::string& path);

// ProcStat is a part of a file "stat" of /proc.
struct ProcStat {
  std::string name;      // of the program, 15 characters at most
  char state = '?';      // R, S, D, T, Z, ...
  bool exiting = false;  // whether it is ending, though it is still listed
};
// Returns the ProcStat of a process or a thread, by its folder:
// "/proc/self/task/4711".
ProcStat ReadStat(const std::string& folder);

// Returns the numbers of the threads of `process`, a pid or "self", exiting
// ones too.
std::vector<pid_t> ThreadsOf(const std::string& process);

// Returns the children of `process`, a pid or "self": alive or zombies.
std::vector<pid_t> ChildrenOf(const std::string& process);

// Returns the descendants of `pid`, each before its own children.
std::vector<pid_t> DescendantsOf(pid_t pid);

// Returns a line on what `pid` is doing: "pid 7 (server) state S wchan do_wait
// ...".
std::string DescribeProcess(pid_t pid);

// Returns the children of process `pid` whose state, a letter as in proc(5), is
// wanted.
std::vector<pid_t> ChildrenWhoseState(pid_t pid, bool (*wanted)(char));

}  // namespace brood::testing

#endif  // BROOD_TESTING_INTERNAL_PROC_FILES_H_
