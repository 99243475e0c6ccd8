// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FUZZ_STAGED_PROCESS_H_
#define BROOD_TESTING_FUZZ_STAGED_PROCESS_H_

#include <array>
#include <string>
#include <vector>

namespace brood::testing {

// StagedProcess is the environment and the descriptors that a program has when
// it starts, for a function that takes them.
//
// While an object lives, descriptors 3 to 10 are open and not close-on-exec, as
// if inherited, and 11 is free. Other files with these numbers (of the fuzzer,
// for example) are moved to higher numbers meanwhile. The destructor restores
// the descriptors and the environment.
//
// For one object at a time, in a process without other active threads. Errors:
// an error of the kernel ends the process.
//
// Example:
//   const StagedProcess staged({"LISTEN_FDS=2"});
//   { auto sockets = net::TakeInheritedSockets(); ... }
//   Require(staged.AreClosed(3, 2) && staged.AreUntouched(5, 6), "two");
class StagedProcess {
 public:
  // The lowest number of the descriptors.
  static constexpr int kFirst = 3;
  // How many descriptors are open.
  static constexpr int kCount = 8;
  // The number after them, which is free.
  static constexpr int kFree = kFirst + kCount;

  // Sets the environment, whose entries are NAME=VALUE without a NUL, and opens
  // the descriptors.
  explicit StagedProcess(std::vector<std::string> environment);
  StagedProcess(const StagedProcess&) = delete;
  StagedProcess& operator=(const StagedProcess&) = delete;
  // Restores the environment and the descriptors.
  ~StagedProcess();

  // Reports whether the descriptors `first` to `first + count - 1` are open and
  // unchanged.
  static bool AreUntouched(int first, int count);
  // Reports whether these descriptors are open and have become close-on-exec.
  static bool AreTaken(int first, int count);
  // Reports whether these descriptors are closed.
  static bool AreClosed(int first, int count);

 private:
  // Before is the file that had a number before.
  struct Before {
    int fd = -1;  // its number meanwhile
    int flags = 0;
  };

  std::vector<std::string> environment_;
  std::vector<char*> entries_;
  char** environment_before_;
  std::array<Before, kCount + 1> before_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FUZZ_STAGED_PROCESS_H_
