// SPDX-License-Identifier: Apache-2.0

// What each system call may say when it fails: the errors of its manual page
// that make sense for how this tree calls it.
//
// Left out is what would be a bug of the caller's (EFAULT, EBADF), but for
// calls that have nothing else to say. A value; lives in any process.
//
// Example:
//   for (const SyscallError& error : ErrorsOf("accept4")) ...

#ifndef BROOD_TESTING_SYSCALLS_SYSCALL_ERRORS_H_
#define BROOD_TESTING_SYSCALLS_SYSCALL_ERRORS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace brood::testing {

struct SyscallError {
  int error;
  // It says that something happened just now, as EINTR does: the kernel never
  // says it for good.
  bool passes;
};

// Of a function of the C library, or a system call by its name ("clone3");
// empty for one that the table does not know.
std::vector<SyscallError> ErrorsOf(const std::string& call);

// The name of the system call `number`, "clone3"; "" for one that is not used.
std::string NameOfSyscall(int64_t number);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_ERRORS_H_
