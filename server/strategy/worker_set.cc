// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/worker_set.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/sync_point.h"

namespace brood::server {
namespace {

// What a message without a connection tells a worker.
constexpr net::HandoffQueue::Ticket kReportReady = {0, 0};
constexpr net::HandoffQueue::Ticket kLeave = {1, 0};

// How soon to look again whether the workers that were forked last are ready:
// most are, within a fraction of this.
constexpr absl::Duration kReadyPeriod = absl::Milliseconds(2);

bool operator==(const net::HandoffQueue::Ticket& a,
                const net::HandoffQueue::Ticket& b) {
  return a.slot == b.slot && a.serial == b.serial;
}

// Reports whether `count` more descriptors can be opened, by opening them:
// numbers say nothing, because others may be open above them.
bool CanOpen(size_t count, int copied) {
  std::array<net::UniqueFd, WorkerSet::kReserved> copies;
  for (size_t i = 0; i < count; ++i) {
    copies[i] = net::UniqueFd::Adopt(fcntl(copied, F_DUPFD_CLOEXEC, 0));
    if (!copies[i].valid()) return false;
  }
  return true;
}

}  // namespace

WorkerSet::WorkerSet(size_t size, const StrategyEnvironment& environment,
                     Body body, int kept_fd,
                     absl::optional<uint32_t> first_page)
    : environment_(environment),
      body_(std::make_unique<const Body>(std::move(body))),
      kept_fd_(kept_fd),
      first_page_(first_page),
      workers_(size),
      unopened_(size) {
  idle_.reserve(size);
  absent_.reserve(size);
  for (size_t index = size; index > 0; --index) {
    absent_.push_back(static_cast<Index>(index - 1));
  }
}

void WorkerSet::ForkUpTo(size_t wanted_idle, net::Instant now) {
  CountReady();
  next_fork_ = net::Instant::min();
  for (size_t left = backoff_.Allowance(starting_, now);
       left > 0 && idle_.size() < wanted_idle && !absent_.empty(); --left) {
    const bool was_short = is_short_;
    const absl::Status forked = Fork();
    if (forked.ok()) continue;
    const absl::Duration pause = backoff_.DiedAtStart(now);
    // The limit may stay too low for as long as the server runs.
    if (!was_short || !is_short_) {
      environment_.log->PreforkFailed(forked, pause);
    }
    break;
  }
  if (idle_.size() >= wanted_idle) return;
  next_fork_ = std::max(backoff_.resume_at(), net::After(now, kReadyPeriod));
}

absl::Status WorkerSet::Fork() {
  const Index index = absent_.back();
  Worker& worker = workers_[index];
  absl::Status opened = OpenQueue(worker);
  if (!opened.ok()) return opened;
  // In the queue before the worker exists, so that nothing overtakes it.
  absl::Status told = worker.queue->Order(kReportReady);
  if (!told.ok()) return told;
  std::array<int, 2> kept = {worker.queue->fd_to_await(), kept_fd_};
  std::sort(kept.begin(), kept.end());
  // By value: the child cannot read our members.
  const int awaiting_fd = worker.queue->fd_to_await();
  const ChildProgram& program = *environment_.program;
  const Body& body = *body_;
  absl::StatusOr<proc::Child> child = environment_.spawner->Spawn(
      [&] { return Join(program, body, index, awaiting_fd); }, kept);
  if (!child.ok()) {
    if (!worker.queue->Acknowledge()) DropQueue(worker);
    return child.status();
  }
  absent_.pop_back();
  worker.state = State::kIdle;
  worker.ready = false;
  worker.pid = child->pid();
  worker.generation = generation_;
  environment_.reaper->Adopt(*std::move(child), ChildTag::Worker(index).Pack());
  idle_.push_back(index);
  ++starting_;
  return absl::OkStatus();
}

absl::Status WorkerSet::OpenQueue(Worker& worker) {
  if (worker.queue->valid()) return absl::OkStatus();
  absl::StatusOr<net::HandoffQueue> queue = net::HandoffQueue::Create();
  if (queue.ok() && !CanOpen(kReserved, queue->fd_to_await())) {
    queue = absl::ResourceExhaustedError(
        absl::StrCat("a worker would leave fewer than ", kReserved,
                     " descriptors free (ulimit -n)"));
  }
  is_short_ = !queue.ok();
  if (!queue.ok()) return queue.status();
  // For all that are still to come: none of them costs an allocation then.
  proc::ReservePrivateFds(2 * unopened_--);
  worker.queue = proc::Private<net::HandoffQueue>(*std::move(queue));
  return absl::OkStatus();
}

// If a queue cannot be drained, it is closed: otherwise the next worker would
// receive messages that were addressed to the previous one.
void WorkerSet::DropQueue(Worker& worker) {
  worker.queue = proc::Private<net::HandoffQueue>();
  ++unopened_;
}

// In the child.
int WorkerSet::Join(const ChildProgram& program, const Body& body, Index index,
                    int awaiting_fd) {
  if (const absl::optional<int> failed = program.Begin()) return *failed;
  net::HandoffQueue queue = net::HandoffQueue::AdoptAwaiting(awaiting_fd);
  queue.Acknowledge();  // kReportReady
  return body(index, queue);
}

absl::optional<net::HandoffQueue::Message> WorkerSet::AwaitConnection(
    const net::HandoffQueue& queue) {
  absl::StatusOr<net::HandoffQueue::Message> message = queue.Await();
  proc::SyncPoint("worker set: worker sees a message");
  // The end of the queue is the end of the parent; a command says to leave.
  if (!message.ok() || !message->connection) return absl::nullopt;
  return *std::move(message);
}

// Also those that serve: a worker may have been given a connection before it
// was looked at, and hold it for long.
void WorkerSet::CountReady() {
  if (starting_ == 0) return;
  const size_t before = starting_;
  for (Worker& worker : workers_) {
    if (worker.state == State::kAbsent || worker.ready) continue;
    if (!worker.queue->Empty()) continue;
    worker.ready = true;
    --starting_;
  }
  if (starting_ < before) backoff_.BecameReady();
}

bool WorkerSet::Assign(Slot slot, const net::Connection& connection,
                       net::Instant now, Strategy::Events& events) {
  if (idle_.empty()) return false;
  const Index index = idle_.back();
  Worker& worker = workers_[index];
  if (++last_serial_ == 0) ++last_serial_;
  if (!worker.queue->Offer({slot, last_serial_}, connection).ok()) return false;
  proc::SyncPoint("worker set: offered");
  idle_.pop_back();
  worker.state = State::kServing;
  worker.slot = slot;
  worker.serial = last_serial_;
  events.Assigned(slot, worker.pid, now,
                  first_page_ ? *first_page_ + index : slot);
  return true;
}

absl::optional<Slot> WorkerSet::Finished(Index index, pid_t pid,
                                         uint32_t serial, bool leaves) {
  if (index >= workers_.size()) return absl::nullopt;
  Worker& worker = workers_[index];
  if (worker.state != State::kServing || worker.pid != pid ||
      worker.serial != serial) {
    return absl::nullopt;
  }
  MarkReady(worker);
  if (leaves) {
    worker.state = State::kLeaving;
  } else {
    worker.state = State::kIdle;
    idle_.push_back(index);
    if (worker.generation != generation_) Dismiss(index);
  }
  return worker.slot;
}

void WorkerSet::ReleaseThoseServing() {
  for (Index index = 0; index < workers_.size(); ++index) {
    Worker& worker = workers_[index];
    if (worker.state != State::kServing || !worker.queue->Empty()) continue;
    MarkReady(worker);
    environment_.reaper->Retag(worker.pid,
                               ChildTag::Connection(worker.slot).Pack());
    Vacate(index);
  }
}

void WorkerSet::Ended(Index index, const proc::Reaper::Ended& ended,
                      net::Instant now, Strategy::Events& events) {
  Worker& worker = workers_[index];
  const State state = worker.state;
  const Slot slot = worker.slot;
  Leftovers left = EmptyQueue(worker);
  if (state == State::kIdle) {
    idle_.erase(std::find(idle_.begin(), idle_.end(), index));
  }
  if (!left.was_ready) {
    environment_.log->WorkerDiedAtStart(ended.pid, ended.status,
                                        backoff_.DiedAtStart(now));
  }
  if (!worker.ready) --starting_;
  if (std::exchange(worker.drops_queue, false)) DropQueue(worker);
  Vacate(index);
  next_fork_ = net::Instant::min();
  if (state != State::kServing) return;
  if (left.connection) {
    events.Returned(slot, *std::move(left.connection), ended.pid, ended.status);
  } else if (!left.lost.ok()) {
    events.Failed(slot, left.lost, now);
  } else {
    events.Ended(slot, ended.pid, ended.status, now);
  }
}

// What is still in the queue the worker had not taken over.
WorkerSet::Leftovers WorkerSet::EmptyQueue(Worker& worker) {
  Leftovers left;
  while (!worker.queue->Empty()) {
    auto message = worker.queue->TakeBack();
    if (message.ok() && *message) {
      if ((*message)->connection) {
        left.connection = std::move((*message)->connection);
      } else if ((*message)->ticket == kReportReady) {
        left.was_ready = false;
      }
      continue;
    }
    // Perhaps no descriptor is free to take it back with: it is dropped, and
    // counted as failed.
    if (!message.ok()) left.lost = message.status();
    if (worker.queue->Acknowledge()) continue;
    DropQueue(worker);
    break;
  }
  return left;
}

void WorkerSet::DismissIdle(size_t target) {
  while (idle_.size() > target) Dismiss(idle_.front());
}

void WorkerSet::BeginGeneration() {
  ++generation_;
  DismissIdle(0);
  next_fork_ = net::Instant::min();
}

// The oldest one: its descriptors have the lowest numbers, which are of use
// even if the limit was lowered.
void WorkerSet::FreeDescriptors() {
  for (const Index index : absent_) {
    if (!workers_[index].queue->valid()) continue;
    DropQueue(workers_[index]);
    return;
  }
  if (idle_.empty()) return;
  const Index oldest = idle_.front();
  workers_[oldest].drops_queue = true;
  Dismiss(oldest);
}

void WorkerSet::Dismiss(Index index) {
  Worker& worker = workers_[index];
  idle_.erase(std::find(idle_.begin(), idle_.end(), index));
  worker.state = State::kLeaving;
  if (!worker.queue->Order(kLeave).ok()) {
    environment_.reaper->Signal(worker.pid, SIGTERM).IgnoreError();
  }
}

void WorkerSet::MarkReady(Worker& worker) {
  if (worker.ready) return;
  worker.ready = true;
  --starting_;
  backoff_.BecameReady();
}

void WorkerSet::Vacate(Index index) {
  workers_[index].state = State::kAbsent;
  workers_[index].pid = 0;
  absent_.push_back(index);
}

}  // namespace brood::server
