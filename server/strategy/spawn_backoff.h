// SpawnBackoff: how many processes may be forked ahead at once.
//
// One that was just forked is starting until it is ready for a connection.
// While all is well the number of starting ones doubles, up to a bound; when
// one dies before it was ready, it falls back to a single one, after a pause
// that doubles from kShortestPause to kLongestPause as long as that goes on. So
// a program whose children can't start does not spend its time forking them,
// and is back to its full strength within two seconds of being cured.
//
// Pure: events and times go in, a number comes out. Lives in the parent.
//
// Example:
//   for (size_t n = backoff.Allowance(starting, now); n > 0; --n) ForkAhead();

#ifndef BROOD_SERVER_STRATEGY_SPAWN_BACKOFF_H_
#define BROOD_SERVER_STRATEGY_SPAWN_BACKOFF_H_

#include <cstddef>

#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

class SpawnBackoff {
 public:
  // More than this at once, and a client that comes meanwhile waits for long.
  static constexpr size_t kMostAtOnce = 8;
  static constexpr absl::Duration kShortestPause = absl::Milliseconds(100);
  static constexpr absl::Duration kLongestPause = absl::Milliseconds(1600);

  size_t Allowance(size_t starting, net::Instant now) const {
    if (now < resume_at_ || starting >= at_once_) return 0;
    return at_once_ - starting;
  }
  // Some that were starting are ready.
  void BecameReady();
  // One ended before it was ready. Gives the length of the pause.
  absl::Duration DiedAtStart(net::Instant now);

  // When a pause ends; the beginning of time if there is none.
  net::Instant resume_at() const { return resume_at_; }

 private:
  size_t at_once_ = 1;
  absl::Duration pause_ = absl::ZeroDuration();
  net::Instant resume_at_ = net::Instant::min();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_SPAWN_BACKOFF_H_
