#include "brood/server/supervisor/lifecycle.h"

namespace brood::server {

void Lifecycle::RequestStop(net::Instant now) {
  if (state_ < State::kDraining) {
    state_ = State::kDraining;
    deadline_ = net::After(now, drain_grace_);
  } else if (handed_over_) {
    handed_over_ = false;
  } else if (!stopped()) {
    deadline_ = now;
  }
}

void Lifecycle::HandOver(net::Instant now) {
  RequestStop(now);
  handed_over_ = true;
}

Lifecycle::Action Lifecycle::Step(net::Instant now, size_t live_children) {
  if (state_ < State::kDraining || stopped()) return Action::kNone;
  if (live_children == 0 && !accepting_) {
    state_ = State::kStopped;
    deadline_ = net::Never();
    return Action::kNone;
  }
  if (now < deadline_) return Action::kNone;

  deadline_ = net::After(now, kKillDelay);
  if (state_ == State::kTerminating) return Action::kKill;
  state_ = State::kTerminating;
  accepting_ = false;
  return Action::kTerminate;
}

}  // namespace brood::server
