// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_REFUSE_CALLS_H_
#define BROOD_TESTING_SUPPORT_REFUSE_CALLS_H_

#include <cstdint>
#include <vector>

namespace brood::testing {

// Makes the system calls with the numbers `calls` (SYS_...) fail with the errno
// `error` in this process from now on.
//
// For conditions that a test cannot cause otherwise: a kernel without a call
// (ENOSYS), or one that has run out of a resource (EAGAIN, ENOMEM). Installs a
// seccomp filter, which needs no privilege, cannot be removed, and is inherited
// by children: so call it in a process that is forked for the purpose. For
// calls that must fail only sometimes, see fault_injector.h.
//
// Errors: aborts, with the reason, where the kernel has no seccomp filters.
//
// Example:
//   if (fork() == 0) {
//     RefuseCalls({SYS_clone3}, ENOSYS);
//     ...
void RefuseCalls(const std::vector<int>& calls, int error);

// RefusedArgument describes a call that fails depending on one of its
// arguments. A filter can compare the value of an argument, and not the memory
// that it points to.
struct RefusedArgument {
  // The number of the call, SYS_...
  int call;
  // The index of the argument, from 0 on.
  int index;
  // The bits of its lower half that are compared.
  uint32_t mask;
  // The value that these bits are compared with.
  uint32_t value;
  // Whether the call fails if the bits are `value`; otherwise it fails if they
  // are not.
  bool if_equal;
  // The errno with which the call fails.
  int error;
};

// Makes a call fail in this process from now on if the argument matches.
void RefuseArgument(const RefusedArgument& refused);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_REFUSE_CALLS_H_
