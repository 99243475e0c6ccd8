#include "brood/server/strategy/spares.h"

#include <algorithm>
#include <utility>

#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/proc/sync_point.h"
#include "brood/server/handler.h"

namespace brood::server {
namespace {

// In the child.
int LiveAsSpare(const ChildProgram& program, net::HandoffQueue& queue) {
  absl::optional<net::HandoffQueue::Message> message =
      WorkerSet::AwaitConnection(queue);
  if (!message) return static_cast<int>(ExitCode::kServed);
  // From here on it is ours: if we die, it has had its process.
  queue.Acknowledge();
  proc::SyncPoint("spares: acknowledged");
  queue.StopAwaiting();
  return program.Serve(*message->connection);
}

}  // namespace

Spares::Spares(size_t min, size_t max, ForkPerConnection direct,
               proc::Reaper* reaper, const ChildProgram* program, EventLog* log)
    : min_(min),
      max_(max),
      direct_(std::make_unique<ForkPerConnection>(std::move(direct))),
      // As many again may be about to take their connections over.
      workers_(2 * max, reaper, log, program,
               [program](WorkerSet::Index /*index*/, net::HandoffQueue& queue) {
                 return LiveAsSpare(*program, queue);
               }),
      wanted_(min) {}

void Spares::Dispatch(Slot slot, net::Connection connection, Events& events) {
  lull_at_ = net::After(connection.accepted_at(), kLull);
  if (workers_.Assign(slot, connection, events)) return;
  were_too_few_ = true;
  direct_->Dispatch(slot, std::move(connection), events);
}

void Spares::ChildEnded(const proc::Reaper::Ended& ended, Events& events) {
  if (WorkerSet::IsWorker(ended.tag)) {
    workers_.Ended(ended, net::Now(), events);
  } else {
    direct_->ChildEnded(ended, events);
  }
}

void Spares::Maintain(net::Instant now, bool quiet, Events& /*events*/) {
  // Not while somebody may be waiting in the kernel's queue.
  if (!quiet || closed_) return;
  if (were_too_few_) {
    were_too_few_ = false;
    wanted_ = std::min(2 * wanted_, max_);
    shrink_at_ = net::After(now, kShrinkPeriod);
  } else if (now >= shrink_at_) {
    wanted_ = std::max(wanted_ / 2, min_);
    shrink_at_ = wanted_ > min_ ? net::After(now, kShrinkPeriod) : net::Never();
    workers_.DismissIdle(wanted_);
  }
  if (workers_.idle() >= wanted_ || !(Refills() || now >= lull_at_)) return;
  workers_.ReleaseThoseServing();
  workers_.ForkUpTo(wanted_, direct_->spawner(), now);
  refilling_ = workers_.idle() < wanted_;
}

net::Instant Spares::next_maintenance() const {
  if (closed_) return net::Never();
  if (workers_.idle() >= wanted_) return shrink_at_;
  const net::Instant refill_at = Refills() ? net::Instant::min() : lull_at_;
  return std::min(std::max(refill_at, workers_.next_fork()), shrink_at_);
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
