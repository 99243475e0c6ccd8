// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/upgrade_claim.h"

#include <sys/types.h>
#include <unistd.h>

#include <atomic>

namespace brood::server {
namespace {

// The process that has the claim, or 0. In a process that was forked since, the
// copy of this variable still has the pid of the parent.
std::atomic<pid_t> holder{0};

}  // namespace

absl::optional<UpgradeClaim> UpgradeClaim::TryMake() {
  const pid_t self = getpid();
  pid_t before = holder;
  do {
    if (before == self) return absl::nullopt;
  } while (!holder.compare_exchange_weak(before, self));
  return UpgradeClaim(self);
}

UpgradeClaim::~UpgradeClaim() {
  // Does not end another claim: a forked process may have made one after it
  // copied this object.
  if (process_ != 0 && process_ == getpid()) holder = 0;
}

}  // namespace brood::server
