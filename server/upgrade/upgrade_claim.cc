// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/upgrade_claim.h"

#include <sys/types.h>
#include <unistd.h>

#include <atomic>

namespace brood::server {
namespace {

// The process whose claim it is, or 0. The pid tells a process that was forked
// since, whose copy of this variable still has its parent's.
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
  // Not another claim, which a forked process made after it copied this one.
  if (process_ != 0 && process_ == getpid()) holder = 0;
}

}  // namespace brood::server
