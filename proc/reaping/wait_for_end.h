// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_WAIT_FOR_END_H_
#define BROOD_PROC_REAPING_WAIT_FOR_END_H_

#include <sys/types.h>

#include "absl/functional/function_ref.h"
#include "absl/types/optional.h"
#include "brood/proc/exit_status.h"

namespace brood::proc {

// WaitResult is what one wait for a child found.
//
// A value of the parent's. Only an exit and a death by a signal are ends: that
// a child was stopped is no result, and is dealt with by WaitForEnd().
struct WaitResult {
  enum class Kind {
    kLives,  // it has not ended, or cannot be reaped yet
    kEnded,  // it was reaped
    kGone,   // it is no child of this process, or none any more
  };

  Kind kind;
  // The child. 0 if any child was waited for and none had changed.
  pid_t pid;
  // How it ended, if it was reaped; unknown otherwise.
  ExitStatus status;
};

// The stop of a child for its tracer after which it is killed. A debugger
// stops its child again and again, and this process is none.
inline constexpr int kMostStops = 3;

// Waits for the child `pid`, or for any child if that is -1, without blocking,
// whatever its exit signal is. The functions of this file are the only ones of
// the product that call the kernel's wait.
//
// A child that asked to be traced by its parent (PTRACE_TRACEME) stops for
// this process, and the kernel reports each stop to its wait. Such a child is
// let go on, without a tracer, and receives the signal for which it stopped.
// `count_stop` returns how often the child has stopped by now: at the
// kMostStops-th time, and if it cannot be let go on, it is killed. It is a
// child like any other after that.
//
// Process: the parent. It detaches in the thread alone that spawned the child.
WaitResult WaitForEnd(pid_t pid, absl::FunctionRef<int(pid_t)> count_stop);

// Waits until the child `pid` has ended, and reaps it. Returns kEnded or kGone.
WaitResult AwaitEnd(pid_t pid);

// Returns whether `pid` is a child of this process that was not reaped,
// whether it lives or has ended. Until it is reaped no other process has this
// pid. Returns true also if the kernel cannot tell. Reaps nothing.
bool IsUnreapedChild(pid_t pid);

// Does the same for the process of the pidfd `pidfd`. Returns nothing if the
// kernel cannot tell (before Linux 5.4).
absl::optional<bool> IsUnreapedChildOfPidfd(int pidfd);

// Returns whether `pid` is a child that has ended, can be reaped, and was
// created with another exit signal than SIGCHLD. Reaps nothing.
bool IsEndedCloneChild(pid_t pid);

// Returns a child of the kind of IsEndedCloneChild(); 0 if there is none.
pid_t AnyEndedCloneChild();

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_WAIT_FOR_END_H_
