// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_SPAWN_BACKOFF_H_
#define BROOD_SERVER_STRATEGY_SPAWN_BACKOFF_H_

#include <algorithm>
#include <cstddef>

#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

// SpawnBackoff decides how many processes may be forked ahead at once.
//
// One that was just forked is starting until it is ready for a connection.
// While all is well the number of starting ones doubles, up to a bound. When
// one dies without having been of use, it falls back to a single one, after a
// pause that doubles from kShortestPause to kLongestPause as long as that goes
// on. To be ready proves nothing: only kProof without such a death does. So a
// program whose children cannot live does not spend its time forking them, and
// is back to its full strength within two seconds of being cured.
//
// Pure: events and times go in, a number comes out. Process: parent.
//
// Example:
//   for (size_t n = backoff.Allowance(starting, now); n > 0; --n) ForkAhead();
class SpawnBackoff {
 public:
  // More than this at once, and a client that comes meanwhile waits for long.
  static constexpr size_t kMostAtOnce = 8;
  static constexpr absl::Duration kShortestPause = absl::Milliseconds(100);
  static constexpr absl::Duration kLongestPause = absl::Milliseconds(1600);
  // How long no process must die at its start until the next pause is short.
  static constexpr absl::Duration kProof = absl::Seconds(1);

  // Returns how many more may be forked at `now`, while `starting` start.
  size_t Allowance(size_t starting, net::Instant now) const {
    if (now < resume_at_ || starting >= at_once_) return 0;
    return at_once_ - starting;
  }
  // Records that some that were starting are ready.
  void BecameReady() { at_once_ = std::min(2 * at_once_, kMostAtOnce); }
  // Records that one died at its start. Returns the length of the pause.
  absl::Duration DiedAtStart(net::Instant now) {
    at_once_ = 1;
    // Several that were forked at once are one failure.
    if (now < resume_at_) return pause_;
    if (pause_ != absl::ZeroDuration() &&
        now >= net::After(resume_at_, kProof)) {
      pause_ = absl::ZeroDuration();
    }
    pause_ = std::max(kShortestPause, std::min(2 * pause_, kLongestPause));
    resume_at_ = net::After(now, pause_);
    return pause_;
  }

  // Returns when a pause ends; the beginning of time if there is none.
  net::Instant resume_at() const { return resume_at_; }

 private:
  size_t at_once_ = 1;
  absl::Duration pause_ = absl::ZeroDuration();
  net::Instant resume_at_ = net::Instant::min();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_SPAWN_BACKOFF_H_
