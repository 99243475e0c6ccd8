// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaping/wait_for_end.h"

#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

namespace brood::proc {
namespace {

// Without __WALL, a wait ignores children whose exit signal is not SIGCHLD.
constexpr int kAnyKind = __WALL;
constexpr int kLook = WEXITED | WNOHANG | WNOWAIT;
// P_PIDFD, which is missing in older headers.
constexpr auto kByPidfd = static_cast<idtype_t>(3);

// Detaches a child that has stopped because this process traces it. The kernel
// keeps the pid of a traced child until this process has waited for its end, so
// no other process is affected.
void AnswerStop(pid_t pid, int wait_status, int stops) {
  const int signal = WSTOPSIG(wait_status);
  // A SIGTRAP reports an exec, or another event of tracing.
  const uintptr_t passed_on =
      (signal & 0x7f) == SIGTRAP ? 0 : static_cast<uintptr_t>(signal);
  if (stops < kMostStops && ptrace(PTRACE_DETACH, pid, nullptr,
                                   reinterpret_cast<void*>(passed_on)) == 0) {
    return;
  }
  // The killed process is still a child, and its end is reported like any
  // other. If this process may not signal it, it stays stopped.
  kill(pid, SIGKILL);
}

WaitResult Wait(pid_t pid, int flags,
                absl::FunctionRef<int(pid_t)> count_stop) {
  int wait_status = 0;
  rusage usage;
  const pid_t found =
      TEMP_FAILURE_RETRY(wait4(pid, &wait_status, flags, &usage));
  if (found < 0) {
    return {WaitResult::Kind::kGone, pid, ExitStatus::Unknown()};
  }
  if (found == 0) {
    return {WaitResult::Kind::kLives, pid > 0 ? pid : 0, ExitStatus::Unknown()};
  }
  if (WIFEXITED(wait_status) || WIFSIGNALED(wait_status)) {
    return {WaitResult::Kind::kEnded, found,
            ExitStatus::FromWait(wait_status, usage)};
  }
  if (WIFSTOPPED(wait_status)) {
    AnswerStop(found, wait_status, count_stop(found));
  }
  return {WaitResult::Kind::kLives, found, ExitStatus::Unknown()};
}

// Returns the first child in a state that `flags` describe; 0 if no child is in
// it, -1 if there is no child that matches.
pid_t Look(idtype_t type, id_t id, int flags) {
  siginfo_t info;
  info.si_pid = 0;
  if (TEMP_FAILURE_RETRY(waitid(type, id, &info, kLook | flags)) < 0) return -1;
  return info.si_pid;
}

}  // namespace

WaitResult WaitForEnd(pid_t pid, absl::FunctionRef<int(pid_t)> count_stop) {
  return Wait(pid, WNOHANG | kAnyKind, count_stop);
}

WaitResult AwaitEnd(pid_t pid) {
  int stops = 0;
  for (;;) {
    const WaitResult result =
        Wait(pid, kAnyKind, [&](pid_t /*pid*/) { return ++stops; });
    if (result.kind != WaitResult::Kind::kLives) return result;
  }
}

bool IsUnreapedChild(pid_t pid) {
  return pid > 0 && (Look(P_PID, static_cast<id_t>(pid), kAnyKind) >= 0 ||
                     errno != ECHILD);
}

absl::optional<bool> IsUnreapedChildOfPidfd(int pidfd) {
  if (Look(kByPidfd, static_cast<id_t>(pidfd), kAnyKind) >= 0) return true;
  if (errno == ECHILD) return false;
  return absl::nullopt;
}

bool IsEndedCloneChild(pid_t pid) {
  return pid > 0 && Look(P_PID, static_cast<id_t>(pid), __WCLONE) > 0;
}

pid_t AnyEndedCloneChild() {
  const pid_t pid = Look(P_ALL, 0, __WCLONE);
  return pid > 0 ? pid : 0;
}

}  // namespace brood::proc
