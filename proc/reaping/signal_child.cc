// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaping/signal_child.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "absl/types/optional.h"
#include "brood/proc/reaping/wait_for_end.h"

namespace brood::proc {
namespace {

// PIDFD_SIGNAL_PROCESS_GROUP, which is missing in older headers.
constexpr unsigned kToGroup = 4;

int Send(int pidfd, int signal, unsigned flags) {
  const long sent =
      syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, flags);
  return sent < 0 ? errno : 0;
}

// Only the child itself can have created a group with its pid as the id, so no
// other process is signalled while the child is unreaped. The kernel reports
// success if it could signal any process of the group, so the child is checked
// separately.
int SendByPid(pid_t pid, int signal) {
  if (kill(-pid, signal) == 0) return kill(pid, 0) == 0 ? 0 : errno;
  if (errno != ESRCH) return errno;
  if (kill(pid, signal) < 0) return errno;
  // The child may have created its group, and started a process, between the
  // two calls.
  if (signal == SIGKILL) kill(-pid, signal);
  return 0;
}

int SendByPidfd(int pidfd, pid_t pid, int signal) {
  int error = Send(pidfd, signal, kToGroup);
  if (error == 0) return Send(pidfd, 0, 0);
  // The kernel does not have this flag, or a policy refuses the call.
  if (error != ESRCH) return SendByPid(pid, signal);
  error = Send(pidfd, signal, 0);
  if (error == 0 && signal == SIGKILL) Send(pidfd, signal, kToGroup);
  return error;
}

}  // namespace

int SignalChild(pid_t pid, int signal) {
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    if (errno == ESRCH) return ESRCH;
  } else {
    const absl::optional<bool> is_ours = IsUnreapedChildOfPidfd(pidfd);
    const int error =
        is_ours.value_or(false) ? SendByPidfd(pidfd, pid, signal) : ESRCH;
    close(pidfd);
    if (is_ours) return error;
  }
  return IsUnreapedChild(pid) ? SendByPid(pid, signal) : ESRCH;
}

}  // namespace brood::proc
