// SPDX-License-Identifier: Apache-2.0

// RefuseCalls: from now on, some system calls fail in this process.
//
// For tests of what cannot be provoked otherwise: a kernel without a call
// (ENOSYS), or one that has run out of something (EAGAIN, ENOMEM). A seccomp
// filter, which needs no privilege, can't be taken back, and is inherited by
// children: so call it in a process that was forked for the purpose. For calls
// that are to fail now and then, see fault_injector.h.
//
// Errors: aborts, with the reason, where the kernel has no seccomp filters.
//
// Example:
//   if (fork() == 0) {
//     RefuseCalls({SYS_clone3}, ENOSYS);
//     ...

#ifndef BROOD_TESTING_SUPPORT_REFUSE_CALLS_H_
#define BROOD_TESTING_SUPPORT_REFUSE_CALLS_H_

#include <cstdint>
#include <vector>

namespace brood::testing {

// `calls` are numbers, SYS_...; `error` is an errno.
void RefuseCalls(const std::vector<int>& calls, int error);

// RefusedArgument is a call that fails depending on one of its arguments, of
// which a filter sees the value and not what it points to.
struct RefusedArgument {
  // The number of the call, SYS_...
  int call;
  // Which argument, from 0 on.
  int index;
  // The bits of its lower half that are compared.
  uint32_t mask;
  // What they are compared with.
  uint32_t value;
  // Whether the call fails if the bits are `value`, or if they are not.
  bool if_equal;
  // The errno with which the call fails.
  int error;
};

// Makes a call fail in this process from now on if an argument is such.
void RefuseArgument(const RefusedArgument& refused);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_REFUSE_CALLS_H_
