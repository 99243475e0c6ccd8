// Spares: processes forked ahead, each of which serves one connection and ends.
//
// The isolation of a fork for each connection, with the cost of the fork off
// the client's path. Spares are forked while nobody waits; when there is none
// for a connection, a process is forked for it, as ForkPerConnection does it:
// so a flood is served at least as fast as by that.
//
// Nor is one forked as soon as one is taken, for the client who comes next
// would wait for that: when a quarter of them is left, or nobody came for
// kLull, they are made up to their number.
//
// How many wait adapts: when they were too few for a burst the number doubles,
// from `min` up to `max`, and halves after a second without a shortage.
//
// Lives in the parent, which must be single-threaded, in memory that children
// do not get. The tag of a child is its
// slot, or a worker's of the worker set.
//
// Example:
//   Spares spares(4, 32, std::move(direct), &reaper, &program, &log);
//   spares.Dispatch(slot, std::move(connection), events);

#ifndef BROOD_SERVER_STRATEGY_SPARES_H_
#define BROOD_SERVER_STRATEGY_SPARES_H_

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/reaper.h"
#include "brood/server/child/child_program.h"
#include "brood/server/log/event_log.h"
#include "brood/server/strategy/fork_per_connection.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/strategy/worker_set.h"

namespace brood::server {

class Spares : public Strategy, public proc::ParentOnly {
 public:
  static constexpr absl::Duration kShrinkPeriod = absl::Seconds(1);
  static constexpr absl::Duration kLull = absl::Milliseconds(5);

  // `direct` makes the processes; the others outlive the strategy.
  Spares(size_t min, size_t max, ForkPerConnection direct, proc::Reaper* reaper,
         const ChildProgram* program, EventLog* log);

  absl::Status Prepare() override { return direct_->Prepare(); }
  void Dispatch(Slot slot, net::Connection connection, Events& events) override;
  void ChildEnded(const proc::Reaper::Ended& ended, Events& events) override;
  void Maintain(net::Instant now, bool quiet, Events& events) override;
  net::Instant next_maintenance() const override;
  absl::Status BeginGeneration() override;
  void Close() override;

 private:
  const size_t min_;
  const size_t max_;
  // Not in this memory: children need it.
  const std::unique_ptr<ForkPerConnection> direct_;
  WorkerSet workers_;
  bool Refills() const { return refilling_ || 4 * workers_.idle() <= wanted_; }

  size_t wanted_;
  bool were_too_few_ = false;
  bool refilling_ = false;
  net::Instant lull_at_ = net::Instant::min();
  net::Instant shrink_at_ = net::Never();
  bool closed_ = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_SPARES_H_
