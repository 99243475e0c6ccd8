#include "brood/server/strategy/spawn_backoff.h"

#include <algorithm>

namespace brood::server {

void SpawnBackoff::BecameReady() {
  at_once_ = std::min(2 * at_once_, kMostAtOnce);
  pause_ = absl::ZeroDuration();
}

absl::Duration SpawnBackoff::DiedAtStart(net::Instant now) {
  at_once_ = 1;
  // Several that were forked at once are one failure.
  if (now < resume_at_) return pause_;
  pause_ = std::max(kShortestPause, std::min(2 * pause_, kLongestPause));
  resume_at_ = net::After(now, pause_);
  return pause_;
}

}  // namespace brood::server
