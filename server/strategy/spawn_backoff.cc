#include "brood/server/strategy/spawn_backoff.h"

#include <algorithm>

namespace brood::server {

void BirthPacing::Proven() {
  at_once_ = std::min(2 * at_once_, kMostAtOnce);
  pause_ = absl::ZeroDuration();
}

absl::Duration BirthPacing::DiedAtStart(net::Instant now) {
  at_once_ = 1;
  // Several that were forked at once are one failure.
  if (now < resume_at_) return pause_;
  pause_ = std::max(kShortestPause, std::min(2 * pause_, kLongestPause));
  resume_at_ = net::After(now, pause_);
  return pause_;
}

}  // namespace brood::server
