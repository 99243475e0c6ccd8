// SPDX-License-Identifier: Apache-2.0

// Gate: whether the next connection may be taken from the kernel's queue.
//
// "No" means that the listeners are not polled: the connection stays where it
// is, in the backlog, and nothing spins. There are two reasons for a no:
//   - the cap: as many children live as may
//   - a pause: the process or the machine ran out of something (descriptors,
//     memory, processes). It is tried again after a while that doubles from
//     kShortestPause to kLongestPause as long as it fails, and at once when a
//     child ends, since a child gives back some of everything
//
// Pure: counts and the time go in, an answer comes out. Lives in the parent.
//
// Example:
//   if (gate.Open(scoreboard.running(), now)) PollListeners();
//   ... accept4 said EMFILE ...
//   gate.Pause(now);

#ifndef BROOD_SERVER_ADMISSION_GATE_H_
#define BROOD_SERVER_ADMISSION_GATE_H_

#include <cstddef>

#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

class Gate {
 public:
  static constexpr absl::Duration kShortestPause = absl::Milliseconds(10);
  // Seven tries a second cost nothing, and who waits is served soon after
  // relief.
  static constexpr absl::Duration kLongestPause = absl::Milliseconds(150);

  explicit Gate(size_t max_connections) : max_connections_(max_connections) {}

  bool Open(size_t running, net::Instant now) const {
    return running < max_connections_ && now >= resume_at_;
  }

  // Something ran out. Gives the length of the pause that begins now.
  absl::Duration Pause(net::Instant now);
  // A child ended. The next failure still pauses longer than the last one did.
  void ChildEnded() { resume_at_ = net::Instant::min(); }
  // A connection was taken and given to a child: nothing is short any more.
  void Succeeded() { pause_ = absl::ZeroDuration(); }

  size_t max_connections() const { return max_connections_; }
  // When a pause ends by itself; Never() if there is none.
  net::Instant resume_at(net::Instant now) const {
    return now < resume_at_ ? resume_at_ : net::Never();
  }

 private:
  const size_t max_connections_;
  absl::Duration pause_ = absl::ZeroDuration();
  net::Instant resume_at_ = net::Instant::min();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_ADMISSION_GATE_H_
