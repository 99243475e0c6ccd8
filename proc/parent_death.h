// SPDX-License-Identifier: Apache-2.0

// DieWithParent: this process shall not outlive its parent.
//
// The kernel is told to kill it when its parent ends (PR_SET_PDEATHSIG), which
// nothing that the process does with its signals can prevent. Three traps come
// with that, and none of them says a word:
//   - A parent that ended before the call sends nothing any more. So the parent
//     is looked up after the call, and must still be the one that it was.
//   - The kernel's parent is the thread that forked, not its process: when that
//     thread ends, its children are killed though the process lives on.
//   - The order is forgotten when the process changes its effective user or
//     group, gains a capability, or executes a program that does so. So this
//     is called after such a step, not before.
// And the kernel asks whether the parent may signal the child: one that has
// given up being root can't take a child with it that is root still.
//
// In the child. What it forks in turn must call it for itself; a program that
// it executes keeps the order.
//
// Errors: Unavailable if the parent has ended: this process should, too. The
// errno of prctl where a sandbox forbids it.
//
// Example:
//   const pid_t parent = getpid();
//   spawner.Spawn([&] {
//     return DieWithParent(parent).ok() ? Work() : 111;
//   });

#ifndef BROOD_PROC_PARENT_DEATH_H_
#define BROOD_PROC_PARENT_DEATH_H_

#include <sys/types.h>

#include "absl/status/status.h"

namespace brood::proc {

// `parent` is who that must be; it noted its pid before it forked.
absl::Status DieWithParent(pid_t parent);

}  // namespace brood::proc

#endif  // BROOD_PROC_PARENT_DEATH_H_
