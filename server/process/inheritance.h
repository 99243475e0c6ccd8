// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PROCESS_INHERITANCE_H_
#define BROOD_SERVER_PROCESS_INHERITANCE_H_

#include <sys/resource.h>

#include <string>
#include <vector>

namespace brood::server {

// Inheritance is the state that this process inherited from the process that
// started it, as far as it matters to a server.
//
// A value, read by PrepareProcess(), which decides what is changed. State that
// cannot be read counts as usual: not blocked, not limited. No errors.
//
// Example:
//   const Inheritance inherited = Inheritance::Look();
//   if (!inherited.blocked.empty()) Log(NamesOf(inherited.blocked));
struct Inheritance {
  // Returns the state of this process. Changes nothing. Must be called before
  // the program sets a signal or opens a descriptor.
  static Inheritance Look();

  // Returns a phrase for each thing that is unusual and that a server leaves as
  // it is, such as "SIGHUP stays ignored".
  std::vector<std::string> Unusual() const;

  // The signals that are blocked in this thread, in the order of their numbers.
  std::vector<int> blocked;
  // The signals that are ignored, in the order of their numbers.
  std::vector<int> ignored;
  // The limit of the size of files (ulimit -f).
  rlimit file_size = {RLIM_INFINITY, RLIM_INFINITY};
  // The limit of the size of core files (ulimit -c).
  rlimit core = {0, 0};
  // Whether the working directory has been removed, or cannot be reached.
  bool has_no_directory = false;
  // The names of the variables that a server reads, in the order of the
  // environment.
  std::vector<std::string> variables;
  // Whether the process has a controlling terminal.
  bool has_terminal = false;
};

// Returns which of the descriptors 0, 1 and 2 are not open.
std::vector<int> ClosedStandardDescriptors();

// Returns the names of `signals`, separated by commas: "SIGTERM, SIGRTMIN+1".
// More than eight are shortened: "SIGHUP, SIGINT and 60 others".
std::string NamesOf(const std::vector<int>& signals);

}  // namespace brood::server

#endif  // BROOD_SERVER_PROCESS_INHERITANCE_H_
