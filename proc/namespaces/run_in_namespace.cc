// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/namespaces/run_in_namespace.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "absl/status/status.h"
#include "brood/proc/reaping/wait_for_end.h"

namespace brood::proc {
namespace {

// The bit of the exit code that marks an errno of setns; without it, the code
// is an errno of `body`. An exit code has 8 bits, and the errnos in question
// have 7.
constexpr int kSetnsFailed = 0x80;

}  // namespace

absl::Status RunInNamespace(int namespace_fd, absl::FunctionRef<int()> body) {
  sigset_t all, before;
  sigfillset(&all);
  // The handlers of this program must not run in the other process.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  // Not fork(), which would run the pthread_atfork() handlers of the program.
  // Without an exit signal, only a wait with __WALL finds the process.
  const auto pid = static_cast<pid_t>(
      syscall(SYS_clone, CLONE_FILES, nullptr, nullptr, nullptr, nullptr));
  if (pid == 0) {
    if (setns(namespace_fd, 0) < 0) _exit(kSetnsFailed | (errno & 0x7f));
    _exit(body() & 0x7f);
  }
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return absl::ErrnoToStatus(error, "clone");
  const WaitResult ended = AwaitEnd(pid);
  if (ended.kind == WaitResult::Kind::kGone) {
    return absl::ErrnoToStatus(ECHILD, "wait4");
  }
  if (!ended.status.exited()) {
    return absl::AbortedError("setns: the process that called it was killed");
  }
  const int code = ended.status.code();
  if (code == 0) return absl::OkStatus();
  if ((code & kSetnsFailed) != 0) {
    return absl::ErrnoToStatus(code & ~kSetnsFailed, "setns");
  }
  return absl::ErrnoToStatus(code, "in the namespace");
}

}  // namespace brood::proc
