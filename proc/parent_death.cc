// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/parent_death.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace brood::proc {

absl::Status DieWithParent(pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) {
    return absl::ErrnoToStatus(errno, "prctl PR_SET_PDEATHSIG");
  }
  // Read after the call, so that a parent that ended before it is noticed here.
  // The process that has adopted this one since cannot have the same pid,
  // because it was alive at the same time as the parent.
  if (getppid() != parent) {
    return absl::UnavailableError("the parent has ended");
  }
  return absl::OkStatus();
}

}  // namespace brood::proc
