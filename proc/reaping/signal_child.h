// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_SIGNAL_CHILD_H_
#define BROOD_PROC_REAPING_SIGNAL_CHILD_H_

#include <sys/types.h>

namespace brood::proc {

// Sends `signal` to the process group that the child `pid` leads, or to the
// child alone if it leads no group. Returns 0 or an errno: that for the child
// if the group could be signalled and the child could not; ESRCH, without
// sending anything, if `pid` is not an unreaped child of this process.
//
// The kernel may have given the pid to another process: other code of this
// program may have reaped the child, or the kernel itself, if SIGCHLD is
// ignored and the child has executed a program. So this function opens a pidfd,
// checks that its process is an unreaped child, and sends the signal by the
// pidfd. Before Linux 6.9, which is the first to signal groups by pidfd, and
// where no pidfd can be opened, it sends the signal by pid right after the
// check.
//
// Called in the parent. Costs about six system calls.
int SignalChild(pid_t pid, int signal);

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_SIGNAL_CHILD_H_
