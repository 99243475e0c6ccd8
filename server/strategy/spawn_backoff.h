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
// A process that was just forked is starting until it is ready for a
// connection. As long as processes become ready, the number that may start at
// once doubles, up to kMostAtOnce. When a process dies at its start, the number
// falls back to one, after a pause that doubles from kShortestPause to
// kLongestPause as long as processes die. A pause becomes short again only
// after kProof without such a death: a process that was ready may still die at
// once. So a program whose children cannot live does not spend its time forking
// them, and is back at full speed within two seconds after its fault is
// corrected.
//
// Pure: events and times go in, a number comes out. Process: parent.
//
// Example:
//   for (size_t n = backoff.Allowance(starting, now); n > 0; --n) ForkAhead();
class SpawnBackoff {
 public:
  // The largest number that may start at once. With more, a client that
  // connects meanwhile would wait for long.
  static constexpr size_t kMostAtOnce = 8;
  // The length of the first pause.
  static constexpr absl::Duration kShortestPause = absl::Milliseconds(100);
  // The length of the longest pause.
  static constexpr absl::Duration kLongestPause = absl::Milliseconds(1600);
  // How long after a pause no process may die at its start, so that the next
  // pause is short again.
  static constexpr absl::Duration kProof = absl::Seconds(1);

  // Returns how many more processes may be forked at `now`, while `starting`
  // are starting.
  size_t Allowance(size_t starting, net::Instant now) const {
    if (now < resume_at_ || starting >= at_once_) return 0;
    return at_once_ - starting;
  }
  // Records that processes that were starting are ready.
  void BecameReady() { at_once_ = std::min(2 * at_once_, kMostAtOnce); }
  // Records that a process died at its start. Returns the length of the pause.
  absl::Duration DiedAtStart(net::Instant now) {
    at_once_ = 1;
    // Deaths of several processes that were forked together are one failure.
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
