// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_SPARES_H_
#define BROOD_SERVER_STRATEGY_SPARES_H_

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/reaper.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/strategy/worker_set.h"

namespace brood::server {

// Spares forks processes ahead, each of which serves one connection and exits.
//
// The isolation is that of one fork for each connection, and no client waits
// for the fork. Spares are forked while no client waits. When no spare is idle,
// a process is forked for the connection, so a flood is served at least as fast
// as by ForkPerConnection. The set is refilled when a quarter of it is left, or
// when no client came for kLull; refilling after each connection would make the
// next client wait. The wanted number doubles after a burst for which there
// were too few spares, from `min` to `max`, and halves after a second without a
// shortage.
//
// Process: supervisor, which must be single-threaded, in parent-only memory.
// Tags: kWorker, and kConnection from the handoff on.
//
// Example:
//   Spares spares(4, 32, std::move(direct), environment);
//   spares.Dispatch(slot, std::move(connection), now, events);
class Spares : public Strategy, public proc::ParentOnly {
 public:
  // How often the wanted number halves.
  static constexpr absl::Duration kShrinkPeriod = absl::Seconds(1);
  // How long no connection must come until the set is refilled.
  static constexpr absl::Duration kLull = absl::Milliseconds(5);

  // Makes a set of `min` to `max` idle spares. `direct` forks for a connection
  // for which no spare is idle.
  Spares(size_t min, size_t max, std::unique_ptr<Strategy> direct,
         const StrategyEnvironment& environment);

  absl::StatusOr<Rehearsal> RehearseToServe() override {
    return direct_->RehearseToServe();
  }
  absl::Status Prepare() override { return direct_->Prepare(); }
  void Dispatch(Slot slot, net::Connection connection, net::Instant now,
                Events& events) override;
  void ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                  net::Instant now, Events& events) override;
  net::Instant alarm(net::Instant now) const override;
  void Maintain(net::Instant now, bool idle, Events& events) override;
  void FreeDescriptors() override { workers_.FreeDescriptors(); }
  absl::Status BeginGeneration() override;
  void Close() override;

 private:
  // Doubles the wanted number if there were too few spares since the last call.
  // Otherwise halves it when `shrink_at_` has passed, and tells the idle spares
  // beyond the new number to exit.
  void AdaptToDemand(net::Instant now);
  // Returns whether to fork spares without waiting for a lull: a quarter of the
  // wanted number or less is idle, or the last refill was not complete.
  bool MustRefill() const {
    return refilling_ || 4 * workers_.idle() <= wanted_;
  }

  const size_t min_;
  const size_t max_;
  const std::unique_ptr<Strategy> direct_;
  WorkerSet workers_;
  size_t wanted_;
  bool were_too_few_ = false;
  bool refilling_ = false;
  net::Instant lull_at_ = net::Instant::min();
  net::Instant shrink_at_ = net::Never();
  bool closed_ = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_SPARES_H_
