// SPDX-License-Identifier: Apache-2.0

// The rights with which handlers run.

#include <string>

#include "absl/status/status.h"
#include "brood/proc/hardening/process_identity.h"
#include "brood/server/supervisor/supervisor.h"

namespace brood::server {

// Handlers must run with the rights that this process has when it calls Run()
// or Step(), and not with those of processes that were created before: a
// program may open its port as root, and then give up being root.
absl::Status Supervisor::FollowIdentity() {
  if (reported_ready_) {
    identity_.LookAgain(&identity_now_);
  } else {
    identity_now_ = proc::ProcessIdentity::Look();
  }
  const std::string changed = identity_.DifferenceTo(identity_now_);
  if (changed.empty()) return absl::OkStatus();
  absl::Status followed = strategy_->IdentityChanged(changed);
  if (followed.ok()) identity_ = identity_now_;
  return followed;
}

}  // namespace brood::server
