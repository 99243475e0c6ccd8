// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_PROCESS_STAT_H_
#define BROOD_PROC_REAPING_PROCESS_STAT_H_

#include <sys/types.h>

#include "absl/types/optional.h"

namespace brood::proc {

// ProcessStat is what /proc/PID/stat says of a process.
//
// A value. The pid must be kept from being used again while it is read: that
// of a child that was not reaped.
struct ProcessStat {
  // 'R' runs, 'S' sleeps, 'D' sleeps uninterruptibly, 'Z' has ended ...
  char state;
  pid_t parent;
  // The signal by which the parent is notified of the end.
  int exit_signal;
};

// Reads the stat of `pid`. Returns nothing if it cannot be read: without /proc,
// or where this process may not see the other one. Allocates nothing.
absl::optional<ProcessStat> ReadProcessStat(pid_t pid);

// Death is how far a process has come that was killed.
enum class Death {
  kNone,   // a thread of it can run
  kStuck,  // each thread that has not ended sleeps uninterruptibly
  kDead,   // each thread has ended
};

// Looks at the threads of `pid`. A child that is dead and cannot be reaped is
// held by a tracer. Returns kNone if they cannot be seen.
Death LookAtDeath(pid_t pid);

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_PROCESS_STAT_H_
