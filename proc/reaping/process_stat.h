// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_PROCESS_STAT_H_
#define BROOD_PROC_REAPING_PROCESS_STAT_H_

#include <sys/types.h>

#include "absl/types/optional.h"

namespace brood::proc {

// ProcessStat is the state of a process in /proc/PID/stat.
//
// A value. The pid must belong to an unreaped child, so that the kernel does
// not use it again meanwhile.
struct ProcessStat {
  // The state: 'R' runs, 'S' sleeps, 'D' sleeps uninterruptibly, 'Z' has
  // ended ...
  char state;
  // The pid of the parent.
  pid_t parent;
  // The signal by which the kernel notifies the parent of the end.
  int exit_signal;
};

// Returns the state of `pid`; nothing if it cannot be read: without /proc, or
// where this process may not see the other one. Allocates nothing.
absl::optional<ProcessStat> ReadProcessStat(pid_t pid);

// Death is how much of a killed process has ended.
enum class Death {
  // A thread can run.
  kNone,
  // Each thread that has not ended sleeps uninterruptibly.
  kStuck,
  // Each thread has ended.
  kDead,
};

// Returns how many of the threads of `pid` have ended; kNone if they cannot be
// read. A child that is dead and cannot be reaped is held by a tracer.
Death LookAtDeath(pid_t pid);

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_PROCESS_STAT_H_
