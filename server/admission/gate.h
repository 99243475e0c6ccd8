// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_ADMISSION_GATE_H_
#define BROOD_SERVER_ADMISSION_GATE_H_

#include <cstddef>

#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

// Gate decides whether the server may take the next connection from the
// kernel's queue.
//
// If it may not, the supervisor does not poll the listeners: the connection
// stays in the backlog, and nothing spins. There are two reasons:
// - the cap: as many children are alive as are allowed
// - a pause: the process or the machine ran out of something (descriptors,
//   memory, processes). The server tries again after a time that doubles from
//   kShortestPause to kLongestPause as long as it fails, and at once when a
//   child ends, because a child gives back some of everything
//
// Pure: counts and the time go in, an answer comes out. Lives in the parent.
//
// Example:
//   if (gate.Open(scoreboard.running(), now)) PollListeners();
//   ... accept4 failed with EMFILE ...
//   gate.Pause(now);
class Gate {
 public:
  // The length of the first pause.
  static constexpr absl::Duration kShortestPause = absl::Milliseconds(10);
  // The length of the longest pause. Seven tries a second cost nothing, and the
  // clients that wait are served soon after the shortage has passed.
  static constexpr absl::Duration kLongestPause = absl::Milliseconds(150);

  // Makes a gate for at most `max_connections` children at a time.
  explicit Gate(size_t max_connections) : max_connections_(max_connections) {}

  // Returns whether the next connection may be taken at `now`, while `running`
  // children are alive.
  bool Open(size_t running, net::Instant now) const {
    return running < max_connections_ && now >= resume_at_;
  }

  // Begins a pause because something ran out. Returns its length.
  absl::Duration Pause(net::Instant now);
  // Ends the pause because a child ended. The next failure still pauses for
  // longer than the last one did.
  void ChildEnded() { resume_at_ = net::Instant::min(); }
  // Records that a connection was given to a child, so nothing is short any
  // more: the next pause is the shortest one.
  void Succeeded() { pause_ = absl::ZeroDuration(); }

  // Returns the cap.
  size_t max_connections() const { return max_connections_; }
  // Returns when the pause ends by itself; Never() if there is none.
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
