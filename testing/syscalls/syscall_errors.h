// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SYSCALLS_SYSCALL_ERRORS_H_
#define BROOD_TESTING_SYSCALLS_SYSCALL_ERRORS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace brood::testing {

// SyscallError is an error that a system call may return. A value.
struct SyscallError {
  // The errno.
  int error;
  // Whether the error is about a single event, as EINTR is: the kernel never
  // returns it for every call.
  bool passes;
};

// Returns the errors of `call`, a function of the C library or the name of a
// system call ("clone3"): those of its manual page that are possible for the
// calls in this tree. Errors that only a bug of the caller causes (EFAULT,
// EBADF) are left out, unless the call has no others. Returns nothing for a
// call that is not in the table.
//
// Example:
//   for (const SyscallError& error : ErrorsOf("accept4")) ...
std::vector<SyscallError> ErrorsOf(const std::string& call);

// Returns the name of the system call `number`, such as "clone3"; "" for a call
// that is not used.
std::string NameOfSyscall(int64_t number);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SYSCALLS_SYSCALL_ERRORS_H_
