// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_PARENT_DEATH_H_
#define BROOD_PROC_PARENT_DEATH_H_

#include <sys/types.h>

#include "absl/status/status.h"

namespace brood::proc {

// Makes the kernel kill this process when its parent ends (PR_SET_PDEATHSIG),
// whatever this process does with its signals. `parent` is the pid of the
// parent, which it read before it forked. Called in a child.
//
// Four cases in which the kernel, without an error, does not do this:
//   - The parent ended before the call. So this function compares the pid of
//     the parent after the call.
//   - For the kernel the parent is the thread that forked: when that thread
//     ends, its children are killed although the process continues.
//   - The kernel drops the request when this process changes its effective user
//     or group, gains a capability, or executes a program that does so. So this
//     function must be called after such a step.
//   - The parent may not signal this process: a parent that has given up root
//     cannot kill a child that is still root.
//
// A process that this one forks must call it for itself. A program that this
// process executes keeps the request.
//
// Errors: Unavailable if the parent has ended, so that this process should end
// too; otherwise the errno of prctl.
//
// Example:
//   const pid_t parent = getpid();
//   spawner.Spawn([&] {
//     return DieWithParent(parent).ok() ? Work() : 111;
//   });
absl::Status DieWithParent(pid_t parent);

}  // namespace brood::proc

#endif  // BROOD_PROC_PARENT_DEATH_H_
