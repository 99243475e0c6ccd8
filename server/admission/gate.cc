// SPDX-License-Identifier: Apache-2.0

#include "brood/server/admission/gate.h"

#include <algorithm>

namespace brood::server {

absl::Duration Gate::Pause(net::Instant now) {
  pause_ = std::clamp(2 * pause_, kShortestPause, kLongestPause);
  resume_at_ = net::After(now, pause_);
  return pause_;
}

}  // namespace brood::server
