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
// Refuses `call` if its first argument is `argument`, as a family of sockets or
// a descriptor.
void RefuseCallWith(int call, uint32_t argument, int error);

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_REFUSE_CALLS_H_
