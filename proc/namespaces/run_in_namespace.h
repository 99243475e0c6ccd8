// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_NAMESPACES_RUN_IN_NAMESPACE_H_
#define BROOD_PROC_NAMESPACES_RUN_IN_NAMESPACE_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace brood::proc {

// Runs `body` in the namespace `namespace_fd`, and waits until it has returned.
//
// `body` runs in another process, which shares the descriptors of this one and
// none of its memory: descriptors that it opens stay open here. The calling
// process never enters the namespace, because it might not be able to return:
// entering a namespace needs privileges in it, also for the original one.
//
// The rules for `body` are those for code after fork() in a program with
// threads: it may make system calls, and must not allocate memory, lock or
// write to standard error. It returns 0 or an errno, which must be less than
// 256. Signals are blocked in its process, whose end sends no signal.
//
// Errors: the errno of clone, setns (EPERM without CAP_SYS_ADMIN) or wait4,
// with the name of the call; the errno that `body` returned; Aborted if the
// process is killed, for example by a filter of system calls.
//
// Example:
//   int reserved = open("/dev/null", O_RDONLY | O_CLOEXEC);
//   absl::Status opened = RunInNamespace(network, [=] {
//     int fd = socket(AF_INET, SOCK_STREAM, 0);
//     return fd >= 0 && dup3(fd, reserved, O_CLOEXEC) >= 0 && close(fd) == 0
//                ? 0 : errno;
//   });
absl::Status RunInNamespace(int namespace_fd, absl::FunctionRef<int()> body);

}  // namespace brood::proc

#endif  // BROOD_PROC_NAMESPACES_RUN_IN_NAMESPACE_H_
