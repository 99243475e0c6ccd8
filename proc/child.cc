#include "brood/proc/child.h"

#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "absl/strings/str_cat.h"

namespace brood::proc {

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    AbortIfUnreaped();
    pid_ = std::exchange(other.pid_, 0);
  }
  return *this;
}

// Only the child itself can have made a group with its pid as the id, so no
// other process is signalled. The kernel reports success if it could signal any
// process of the group, so the child is looked at apart.
absl::Status Child::Signal(int signal) const {
  if (pid_ == 0) {
    return absl::FailedPreconditionError("kill: this child was reaped");
  }
  if (kill(-pid_, signal) == 0) {
    if (kill(pid_, 0) == 0) return absl::OkStatus();
  } else if (errno == ESRCH && kill(pid_, signal) == 0) {
    // It may have made its group, and started a process, between the two calls.
    if (signal == SIGKILL) kill(-pid_, signal);
    return absl::OkStatus();
  }
  const int error = errno;
  return absl::ErrnoToStatus(error,
                             absl::StrCat("kill ", pid_, " signal ", signal));
}

absl::StatusOr<absl::Duration> Child::ProcessorTime() const {
  // To the kernel, 0 is this process.
  if (pid_ == 0) {
    return absl::FailedPreconditionError(
        "clock_gettime: this child was reaped");
  }
  clockid_t clock;
  const int error = clock_getcpuclockid(pid_, &clock);
  if (error != 0) {
    return absl::ErrnoToStatus(error,
                               absl::StrCat("clock_getcpuclockid ", pid_));
  }
  timespec used;
  if (clock_gettime(clock, &used) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("clock_gettime ", pid_));
  }
  return absl::DurationFromTimespec(used);
}

// A copy of the object in a process that was forked since then has nothing to
// reap: there the kernel knows no such child.
void Child::AbortIfUnreaped() const {
  if (pid_ == 0) return;
  siginfo_t info;
  if (waitid(P_PID, static_cast<id_t>(pid_), &info,
             WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 &&
      errno == ECHILD) {
    return;
  }
  std::fprintf(stderr, "brood: child %d was dropped before it was reaped\n",
               static_cast<int>(pid_));
  std::abort();
}

}  // namespace brood::proc
