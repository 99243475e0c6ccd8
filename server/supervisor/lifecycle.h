// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SUPERVISOR_LIFECYCLE_H_
#define BROOD_SERVER_SUPERVISOR_LIFECYCLE_H_

#include <algorithm>
#include <cstddef>

#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

// Lifecycle is the state of a server between its start and its end.
//
// A pure state machine: it is notified of what happened and of the time, and
// returns what to do. It signals no process and closes nothing.
//
//   kStarting     bound, not accepting yet
//   kServing      the normal state
//   kDraining     a stop was requested, or another program has taken over;
//                 children finish their connections
//   kTerminating  the grace is over, or the second request to stop came; no
//                 more accepting, and children are sent SIGTERM, then SIGKILL
//   kStopped      no child is left, or those that are cannot be killed
//
// Process: the parent. Grace and times are on the monotonic clock.
//
// Example:
//   Lifecycle lifecycle(absl::Seconds(8));
//   lifecycle.RequestStop(now);
//   switch (lifecycle.Step(now, live_children)) {
class Lifecycle {
 public:
  // State is a phase, as the comment of the class describes it.
  //
  // In kDraining, clients in the kernel's queue are still accepted. When the
  // queue is empty the listeners close; closing them earlier would reset those
  // clients. Children have until the grace is over if a stop was requested, and
  // no limit if another program has taken over. In kTerminating, children that
  // are alive kKillDelay after SIGTERM are killed.
  enum class State { kStarting, kServing, kDraining, kTerminating, kStopped };
  // Action is what the caller of Step() must do.
  enum class Action {
    kNone,
    kReport,     // log how many children are waited for
    kTerminate,  // close the listeners, SIGTERM every child
    kKill,       // SIGKILL every child
    kGiveUp,     // leave the children that are left
  };

  // How long a child may take to end after SIGTERM before it is killed.
  static constexpr absl::Duration kKillDelay = absl::Milliseconds(100);
  // The time between two looks at killed children.
  static constexpr absl::Duration kLookPeriod = absl::Milliseconds(40);
  // The number of looks after which children that cannot be killed are given
  // up. Such a stop ends within 200 ms after the grace.
  static constexpr int kLooks = 3;
  // How long after the first SIGKILL every child that is left is given up.
  static constexpr absl::Duration kLongestDeath = absl::Seconds(10);
  // How often a server that another program has replaced reports that it still
  // waits for children.
  static constexpr absl::Duration kReportPeriod = absl::Minutes(1);

  // Makes the lifecycle of a server that starts. `drain_grace` may be infinite.
  explicit Lifecycle(absl::Duration drain_grace) : drain_grace_(drain_grace) {}

  // Records that the server accepts connections.
  void Started() { state_ = State::kServing; }
  // Begins to drain on the first request, to terminate on the second, and to
  // kill on the third.
  void RequestStop(net::Instant now);
  // Begins to drain without a limit, because another program serves from now
  // on. The grace begins with the first request to stop after that.
  void DrainForUpgrade(net::Instant now);
  // Begins to terminate and to kill at once, whatever the state is.
  void Abort(net::Instant now);
  // Records that the listeners are closed and no connection will come.
  void QueueIsEmpty() { accepting_ = false; }
  // Advances the state machine to `now` and returns the action that is due.
  // Each action is returned once, except kReport, which repeats every
  // kReportPeriod, and kKill, which repeats every kLookPeriod until no child is
  // left or kLongestDeath is over.
  Action Step(net::Instant now, size_t live_children);

  // Returns the state.
  State state() const { return state_; }
  // Returns whether the server has stopped.
  bool stopped() const { return state_ == State::kStopped; }
  // Returns whether the server drains.
  bool draining() const { return state_ == State::kDraining; }
  // Returns whether connections may be accepted.
  bool accepting() const { return accepting_; }
  // Returns when Step() has something to do, if nothing happens before.
  net::Instant next_step() const { return std::min(deadline_, report_at_); }
  // Returns when the grace is over; Never() if none has begun.
  net::Instant deadline() const { return deadline_; }

 private:
  const absl::Duration drain_grace_;
  State state_ = State::kStarting;
  bool accepting_ = true;
  bool for_upgrade_ = false;
  bool aborted_ = false;
  net::Instant deadline_ = net::Never();
  // When children that are still alive are given up; Never() before they are
  // killed.
  net::Instant give_up_at_ = net::Never();
  net::Instant report_at_ = net::Never();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_SUPERVISOR_LIFECYCLE_H_
