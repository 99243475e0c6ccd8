// SPDX-License-Identifier: Apache-2.0

// StagedProcess: what a program finds when it starts, for a function that takes
// it: an environment, and descriptors from 3 on.
//
// Numbers 3 to 10 are open while it lives, and not close-on-exec, as a program
// inherits them; 11 is free. What had these numbers before (a file of the
// fuzzer's, say) is moved out of reach, as is the environment. When it is
// destroyed, all is as it was.
//
// One at a time. Works in any process that has no other threads at work.
//
// Errors: what the kernel refuses ends the process.
//
// Example:
//   const StagedProcess staged({"LISTEN_FDS=2"});
//   { auto sockets = net::TakeInheritedSockets(); ... }
//   Require(staged.AreClosed(3, 2) && staged.AreUntouched(5, 6), "two go");

#ifndef BROOD_TESTING_FUZZ_STAGED_PROCESS_H_
#define BROOD_TESTING_FUZZ_STAGED_PROCESS_H_

#include <array>
#include <string>
#include <vector>

namespace brood::testing {

class StagedProcess {
 public:
  static constexpr int kFirst = 3;
  static constexpr int kCount = 8;
  static constexpr int kFree = kFirst + kCount;

  // Each entry is NAME=VALUE, without a NUL.
  explicit StagedProcess(std::vector<std::string> environment);
  StagedProcess(const StagedProcess&) = delete;
  StagedProcess& operator=(const StagedProcess&) = delete;
  ~StagedProcess();

  // Of `count` of its numbers, from `first` on: whether nobody has taken them,
  static bool AreUntouched(int first, int count);
  // whether somebody has, and keeps them from programs that are started,
  static bool AreTaken(int first, int count);
  // or whether they are free.
  static bool AreClosed(int first, int count);

 private:
  // What had a number before.
  struct Before {
    int fd = -1;  // under which it is now
    int flags = 0;
  };

  std::vector<std::string> environment_;
  std::vector<char*> entries_;
  char** environment_before_;
  std::array<Before, kCount + 1> before_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FUZZ_STAGED_PROCESS_H_
