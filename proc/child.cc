// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/child.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "brood/proc/errors/errno_status.h"
#include "brood/proc/reaping/signal_child.h"
#include "brood/proc/reaping/wait_for_end.h"

namespace brood::proc {
namespace {

absl::Status ErrorOf(int error, const char* call, pid_t pid, int signal = 0) {
  char detail[64];
  std::snprintf(detail, sizeof(detail), signal != 0 ? "%d signal %d" : "%d",
                static_cast<int>(pid), signal);
  return ErrnoStatus(error, call, detail);
}

}  // namespace

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    AbortIfUnreaped();
    pid_ = std::exchange(other.pid_, 0);
  }
  return *this;
}

absl::Status Child::Signal(int signal) const {
  if (pid_ == 0) {
    return absl::FailedPreconditionError("kill: this child was reaped");
  }
  const int error = SignalChild(pid_, signal);
  if (error == 0) return absl::OkStatus();
  return ErrorOf(error, "kill ", pid_, signal);
}

absl::StatusOr<absl::Duration> Child::ProcessorTime() const {
  // For the kernel, 0 stands for this process.
  if (pid_ == 0) {
    return absl::FailedPreconditionError(
        "clock_gettime: this child was reaped");
  }
  clockid_t clock;
  const int error = clock_getcpuclockid(pid_, &clock);
  if (error != 0) return ErrorOf(error, "clock_getcpuclockid ", pid_);
  timespec used;
  if (clock_gettime(clock, &used) < 0) {
    return ErrorOf(errno, "clock_gettime ", pid_);
  }
  // Called afterwards: if the child is unreaped now, the time above was its
  // own.
  if (!IsUnreapedChild(pid_)) return ErrorOf(ESRCH, "clock_gettime ", pid_);
  return absl::DurationFromTimespec(used);
}

// In a process that was forked since then, the copy of the object has nothing
// to reap: the process is not a child of it.
void Child::AbortIfUnreaped() const {
  if (pid_ == 0 || !IsUnreapedChild(pid_)) return;
  std::fprintf(stderr, "brood: child %d was dropped before it was reaped\n",
               static_cast<int>(pid_));
  std::abort();
}

}  // namespace brood::proc
