// SPDX-License-Identifier: Apache-2.0

// What /proc knows of a process, read without a trace.
//
// For the kit itself: the census and the explanation of a hang. Works on any
// process of our user, from any process. A process that is gone, or something
// that may not be read, gives nothing rather than an error: in a test that is
// the usual end of a process, not an accident.
//
// Example:
//   for (pid_t child : ChildrenOf(server)) std::cout << ReadStat(child).state;

#ifndef BROOD_TESTING_INTERNAL_PROC_FILES_H_
#define BROOD_TESTING_INTERNAL_PROC_FILES_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace brood::testing {

// The whole file, without its last newline.
std::string ReadProcFile(const std::string& path);

struct ProcStat {
  std::string name;      // of the program, 15 characters at most
  char state = '?';      // R, S, D, T, Z, ...
  bool exiting = false;  // on its way out, though it is still listed
};
// Of a process or a thread, by its folder: "/proc/self/task/4711".
ProcStat ReadStat(const std::string& folder);

// The numbers of the threads of `process`, a pid or "self", on their way out or
// not.
std::vector<pid_t> ThreadsOf(const std::string& process);

// The children of `process`, a pid or "self": alive or zombies.
std::vector<pid_t> ChildrenOf(const std::string& process);

// Its descendants, each before its own children.
std::vector<pid_t> DescendantsOf(pid_t pid);

// One line on what `pid` is doing: "pid 7 (server) state S wchan do_wait ...".
std::string DescribeProcess(pid_t pid);

// Returns the children of process `pid` whose state, a letter as in proc(5), is
// wanted.
std::vector<pid_t> ChildrenWhoseState(pid_t pid, bool (*wanted)(char));

}  // namespace brood::testing

#endif  // BROOD_TESTING_INTERNAL_PROC_FILES_H_
