// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SUPERVISOR_LIFECYCLE_H_
#define BROOD_SERVER_SUPERVISOR_LIFECYCLE_H_

#include <algorithm>
#include <cstddef>

#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

// Lifecycle is where a server is between its start and its end.
//
// A pure state machine: it is told what happened and what time it is, and
// returns what to do. It signals no process and closes nothing.
//
//   kStarting     bound, not accepting yet
//   kServing      the normal state
//   kDraining     told to stop, or another program has taken over. Clients in
//                 the kernel's queue are still accepted; when it is empty the
//                 listeners close, because closing them earlier would reset
//                 those clients. Children finish in peace: until the grace is
//                 over if the server was told to stop, and without a limit if
//                 another program has taken over
//   kTerminating  the grace is over, or the second request to stop came: no
//                 more accepting; children are sent SIGTERM, and those alive
//                 kKillDelay later are killed
//   kStopped      no child is left, or those that are cannot be killed
//
// Process: the parent. Grace and times are on the monotonic clock.
//
// Example:
//   Lifecycle lifecycle(absl::Seconds(8));
//   lifecycle.Started();
//   lifecycle.RequestStop(now);
//   switch (lifecycle.Step(now, live_children)) {
//     case Lifecycle::Action::kTerminate: ...SIGTERM to all...
class Lifecycle {
 public:
  enum class State { kStarting, kServing, kDraining, kTerminating, kStopped };
  enum class Action {
    kNone,
    kReport,     // log how many children are waited for
    kTerminate,  // close the listeners, SIGTERM every child
    kKill,       // SIGKILL every child
    kGiveUp,     // leave the children that are left
  };

  // How long a terminated child may take to die before it is killed.
  static constexpr absl::Duration kKillDelay = absl::Milliseconds(100);
  // How soon after a look at killed children another one follows, and after how
  // many looks those are given up that cannot be killed: such a stop ends
  // within 200 ms after the grace.
  static constexpr absl::Duration kLookPeriod = absl::Milliseconds(40);
  static constexpr int kLooks = 3;
  // How long after the first SIGKILL any child is given up.
  static constexpr absl::Duration kLongestDeath = absl::Seconds(10);
  // How often a server that another program has replaced reports that it still
  // waits for children.
  static constexpr absl::Duration kReportPeriod = absl::Minutes(1);

  explicit Lifecycle(absl::Duration drain_grace) : drain_grace_(drain_grace) {}

  void Started() { state_ = State::kServing; }
  // Drains on the first request, terminates on the second, kills on the third.
  void RequestStop(net::Instant now);
  // Drains, without a limit, because another program serves from now on. The
  // grace begins with the first request to stop after that.
  void DrainForUpgrade(net::Instant now);
  // Terminates and kills at once, whatever the state is.
  void Abort(net::Instant now);
  // Records that the listeners are closed and no connection will come.
  void QueueIsEmpty() { accepting_ = false; }
  // Advances the state machine to `now` and returns the action that is due.
  // Each action is returned once, except kReport, which repeats every
  // kReportPeriod, and kKill, which repeats every kLookPeriod until no child is
  // left or kLongestDeath is over.
  Action Step(net::Instant now, size_t live_children);

  State state() const { return state_; }
  bool stopped() const { return state_ == State::kStopped; }
  bool draining() const { return state_ == State::kDraining; }
  // Whether connections may be accepted.
  bool accepting() const { return accepting_; }
  // When Step() has something to do, if nothing happens before.
  net::Instant next_step() const { return std::min(deadline_, report_at_); }
  // Returns when the grace is over, the end of time if none has begun.
  net::Instant deadline() const { return deadline_; }

 private:
  const absl::Duration drain_grace_;
  State state_ = State::kStarting;
  bool accepting_ = true;
  bool for_upgrade_ = false;
  bool aborted_ = false;
  net::Instant deadline_ = net::Never();
  // When children are given up that live; Never() before they are killed.
  net::Instant give_up_at_ = net::Never();
  net::Instant report_at_ = net::Never();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_LIFECYCLE_H_
