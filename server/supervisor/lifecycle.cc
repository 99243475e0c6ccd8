// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/lifecycle.h"

namespace brood::server {

void Lifecycle::RequestStop(net::Instant now) {
  if (stopped()) return;
  if (state_ < State::kDraining || for_upgrade_) {
    state_ = State::kDraining;
    for_upgrade_ = false;
    deadline_ = net::After(now, drain_grace_);
    report_at_ = net::Never();
  } else {
    deadline_ = now;
  }
}

void Lifecycle::DrainForUpgrade(net::Instant now) {
  if (state_ >= State::kDraining) return;
  state_ = State::kDraining;
  for_upgrade_ = true;
  report_at_ = net::After(now, kReportPeriod);
}

void Lifecycle::Abort(net::Instant now) {
  if (stopped()) return;
  aborted_ = true;
  for_upgrade_ = false;
  report_at_ = net::Never();
  if (state_ < State::kDraining) state_ = State::kDraining;
  deadline_ = now;
}

Lifecycle::Action Lifecycle::Step(net::Instant now, size_t live_children) {
  if (state_ < State::kDraining || stopped()) return Action::kNone;
  if (live_children == 0 && !accepting_) {
    state_ = State::kStopped;
    deadline_ = net::Never();
    report_at_ = net::Never();
    return Action::kNone;
  }
  if (now >= report_at_) {
    report_at_ = net::After(now, kReportPeriod);
    return Action::kReport;
  }
  if (now < deadline_) return Action::kNone;

  if (state_ == State::kTerminating) {
    deadline_ = net::After(now, kLookPeriod);
    if (now >= give_up_at_) return Action::kGiveUp;
    if (give_up_at_ == net::Never()) {
      give_up_at_ = net::After(now, kLongestDeath);
    }
    return Action::kKill;
  }
  deadline_ = aborted_ ? now : net::After(now, kKillDelay);
  state_ = State::kTerminating;
  accepting_ = false;
  return Action::kTerminate;
}

}  // namespace brood::server
