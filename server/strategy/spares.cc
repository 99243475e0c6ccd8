// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/spares.h"

#include <algorithm>
#include <utility>

#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/proc/sync_point.h"
#include "brood/server/child/child_program.h"
#include "brood/server/handler.h"

namespace brood::server {
namespace {

// Runs a spare. Returns its exit code. Called in the spare.
int RunSpare(const ChildProgram& program, net::HandoffQueue& queue) {
  absl::optional<net::HandoffQueue::Message> message =
      WorkerSet::AwaitConnection(queue);
  if (!message) return static_cast<int>(ExitCode::kServed);
  // From here on the connection belongs to this process: if the process dies
  // now, the connection is not given to another one.
  queue.Acknowledge();
  proc::SyncPoint("spares: acknowledged");
  queue.StopAwaiting();
  // No other process may have this page while the connection has the slot.
  if (const auto failed = program.EnterPage(message->ticket.slot)) {
    return *failed;
  }
  return program.Serve(*message->connection);
}

}  // namespace

Spares::Spares(size_t min, size_t max, std::unique_ptr<Strategy> direct,
               const StrategyEnvironment& environment)
    : min_(min),
      max_(max),
      direct_(std::move(direct)),
      // As many spares again may be about to take their connections over.
      workers_(2 * max, environment,
               [program = environment.program](WorkerSet::Index /*index*/,
                                               net::HandoffQueue& queue) {
                 return RunSpare(*program, queue);
               }),
      wanted_(min) {}

void Spares::Dispatch(Slot slot, net::Connection connection, net::Instant now,
                      Events& events) {
  lull_at_ = net::After(now, kLull);
  if (workers_.Assign(slot, connection, now, events)) return;
  were_too_few_ = true;
  direct_->Dispatch(slot, std::move(connection), now, events);
}

void Spares::ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                        net::Instant now, Events& events) {
  if (tag.kind == ChildTag::Kind::kWorker) {
    workers_.Ended(tag.index, ended, now, events);
  } else {
    direct_->ChildEnded(tag, ended, now, events);
  }
}

void Spares::Maintain(net::Instant now, bool idle, Events& /*events*/) {
  workers_.EndOverdue(now);
  // Does not fork while a client may be waiting in the kernel's queue.
  if (!idle || closed_) return;
  AdaptToDemand(now);
  if (workers_.idle() >= wanted_ || !(MustRefill() || now >= lull_at_)) return;
  workers_.ReleaseServing();
  workers_.ForkUpTo(wanted_, now);
  refilling_ = workers_.idle() < wanted_;
}

void Spares::AdaptToDemand(net::Instant now) {
  if (were_too_few_) {
    were_too_few_ = false;
    wanted_ = std::min(2 * wanted_, max_);
    shrink_at_ = net::After(now, kShrinkPeriod);
  } else if (now >= shrink_at_) {
    wanted_ = std::max(wanted_ / 2, min_);
    shrink_at_ = wanted_ > min_ ? net::After(now, kShrinkPeriod) : net::Never();
    workers_.DismissIdle(wanted_);
  }
}

net::Instant Spares::alarm(net::Instant /*now*/) const {
  if (closed_) return workers_.next_end();
  const net::Instant due = std::min(shrink_at_, workers_.next_end());
  if (workers_.idle() >= wanted_) return due;
  const net::Instant refill_at = MustRefill() ? net::Instant::min() : lull_at_;
  return std::min(std::max(refill_at, workers_.next_fork()), due);
}

absl::Status Spares::BeginGeneration() {
  workers_.BeginGeneration();
  return absl::OkStatus();
}

void Spares::Close() {
  closed_ = true;
  workers_.DismissIdle(0);
}

}  // namespace brood::server
