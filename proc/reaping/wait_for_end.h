// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_WAIT_FOR_END_H_
#define BROOD_PROC_REAPING_WAIT_FOR_END_H_

#include <sys/types.h>

#include "absl/functional/function_ref.h"
#include "absl/types/optional.h"
#include "brood/proc/exit_status.h"

namespace brood::proc {

// WaitResult is the result of one wait for a child.
//
// A value, for the parent. Only an exit and a death by a signal are ends: a
// stop is not a result, because WaitForEnd() handles it.
struct WaitResult {
  // Kind is the state of the child.
  enum class Kind {
    // The child has not ended, or cannot be reaped yet.
    kLives,
    // The child was reaped.
    kEnded,
    // The process is not a child of this process, or not any more.
    kGone,
  };

  // The state of the child.
  Kind kind;
  // The pid of the child; 0 if the wait was for any child and none has ended.
  pid_t pid;
  // How the child ended, if it was reaped; unknown otherwise.
  ExitStatus status;
};

// The number of stops for its tracer after which a child is killed. Only a
// debugger needs more, and this process is not a debugger.
inline constexpr int kMostStops = 3;

// Reaps the child `pid`, or any child if that is -1, if it has ended. Does not
// block. Works for every exit signal. The functions of this file are the only
// ones in the library that call wait functions of the kernel.
//
// A child that asked to be traced by its parent (PTRACE_TRACEME) stops for this
// process, and the kernel reports each stop to a wait. This function detaches
// such a child, which continues and receives the signal for which it stopped.
// `count_stop` returns how often the child has stopped by now: at the
// kMostStops-th stop, or if it cannot be detached, the child is killed.
//
// Called in the parent, in the thread that spawned the child: only that thread
// can detach it.
WaitResult WaitForEnd(pid_t pid, absl::FunctionRef<int(pid_t)> count_stop);

// Waits until the child `pid` has ended, and reaps it. Returns kEnded or kGone.
WaitResult AwaitEnd(pid_t pid);

// Reports whether `pid` is a child of this process, live or dead, that was not
// reaped. Until it is reaped no other process has this pid. Returns true also
// if the kernel does not report it. Reaps nothing.
bool IsUnreapedChild(pid_t pid);

// Does the same for the process of `pidfd`. Returns nothing if the kernel does
// not report it (before Linux 5.4).
absl::optional<bool> IsUnreapedChildOfPidfd(int pidfd);

// Reports whether `pid` is a child that has ended, can be reaped, and was
// created with another exit signal than SIGCHLD. Reaps nothing.
bool IsEndedCloneChild(pid_t pid);

// Returns a child for which IsEndedCloneChild() is true; 0 if there is none.
pid_t AnyEndedCloneChild();

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_WAIT_FOR_END_H_
