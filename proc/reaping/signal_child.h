// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_SIGNAL_CHILD_H_
#define BROOD_PROC_REAPING_SIGNAL_CHILD_H_

#include <sys/types.h>

namespace brood::proc {

// Sends `signal` to the process group that the child `pid` leads, and to the
// child alone if it leads none. Returns 0, or the errno: that of the child if
// the group could be signalled and the child could not, and ESRCH, without
// sending anything, if `pid` is no unreaped child of this process.
//
// A number may have been given to another process by the time it is used: other
// code of this program may have reaped the child, or the kernel, which leaves
// no status if SIGCHLD is ignored and the child has executed a program. So a
// descriptor of the process is opened, the kernel is asked whether that process
// is an unreaped child, and the signal is sent by the descriptor. Before Linux
// 6.9, which has no signals for groups by descriptor, and where no descriptor
// can be opened, it is sent by number right after the kernel was asked.
//
// Process: the parent. One signal costs about six system calls.
int SignalChild(pid_t pid, int signal);

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_SIGNAL_CHILD_H_
