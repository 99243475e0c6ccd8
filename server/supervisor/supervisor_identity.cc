// SPDX-License-Identifier: Apache-2.0

// The rights with which handlers run.

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "brood/proc/hardening/process_identity.h"
#include "brood/server/supervisor/supervisor.h"

namespace brood::server {

// Handlers run with the rights that this process has when it calls Run() or
// Step(), and not with those of a process that was created before: a program
// may open its port as root, and then give that up.
absl::Status Supervisor::FollowIdentity() {
  proc::ProcessIdentity now =
      reported_ready_ ? identity_.LookAgain() : proc::ProcessIdentity::Look();
  const std::string changed = identity_.DifferenceTo(now);
  if (changed.empty()) return absl::OkStatus();
  absl::Status followed = strategy_->IdentityChanged(changed);
  if (followed.ok()) identity_ = std::move(now);
  return followed;
}

}  // namespace brood::server
