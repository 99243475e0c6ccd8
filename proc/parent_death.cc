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
  // In this order: had it ended in between, we would see it here. Its number
  // can't be that of whoever is our parent now, for that one lived beside it.
  if (getppid() != parent) {
    return absl::UnavailableError("the parent has ended");
  }
  return absl::OkStatus();
}

}  // namespace brood::proc
