#include "brood/server/strategy/worker_set.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "absl/status/statusor.h"
#include "brood/proc/child.h"
#include "brood/proc/sync_point.h"

namespace brood::server {
namespace {

// What a message without a connection asks of a worker.
constexpr net::HandoffQueue::Ticket kSayReady = {0, 0};
constexpr net::HandoffQueue::Ticket kLeave = {1, 0};

// How soon to look again whether those forked last are ready: most are, within
// a fraction of this.
constexpr absl::Duration kProofPeriod = absl::Milliseconds(2);

bool operator==(const net::HandoffQueue::Ticket& a,
                const net::HandoffQueue::Ticket& b) {
  return a.slot == b.slot && a.serial == b.serial;
}

}  // namespace

WorkerSet::WorkerSet(size_t size, proc::Reaper* reaper, EventLog* log,
                     const ChildProgram* program, Body body, int kept_fd)
    : reaper_(reaper),
      log_(log),
      program_(program),
      body_(std::make_unique<const Body>(std::move(body))),
      kept_fd_(kept_fd),
      workers_(size),
      unopened_(size) {
  idle_.reserve(size);
  absent_.reserve(size);
  for (size_t index = size; index > 0; --index) {
    absent_.push_back(static_cast<Index>(index - 1));
  }
}

void WorkerSet::ForkUpTo(size_t wanted_idle, const proc::Spawner& spawner,
                         net::Instant now) {
  CountReady();
  next_fork_ = net::Instant::min();
  for (size_t left = backoff_.Allowance(starting_, now);
       left > 0 && idle_.size() < wanted_idle && !absent_.empty(); --left) {
    const absl::Status forked = Fork(spawner);
    if (forked.ok()) continue;
    log_->NoneAhead(forked, backoff_.DiedAtStart(now));
    break;
  }
  if (idle_.size() >= wanted_idle) return;
  next_fork_ = std::max(backoff_.resume_at(), net::After(now, kProofPeriod));
}

absl::Status WorkerSet::Fork(const proc::Spawner& spawner) {
  const Index index = absent_.back();
  Worker& worker = workers_[index];
  absl::Status opened = OpenQueue(worker);
  if (!opened.ok()) return opened;
  // In its queue before it is born: it can't overtake it.
  absl::Status ordered = worker.queue->Order(kSayReady);
  if (!ordered.ok()) return ordered;
  std::array<int, 2> kept = {worker.queue->fd_to_await(), kept_fd_};
  std::sort(kept.begin(), kept.end());
  // By value: the child can't look at our workers.
  const int awaiting_fd = worker.queue->fd_to_await();
  const ChildProgram& program = *program_;
  const Body& body = *body_;
  absl::StatusOr<proc::Child> child = spawner.Spawn(
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
  reaper_->Adopt(*std::move(child), kWorkerTag | index);
  idle_.push_back(index);
  ++starting_;
  return absl::OkStatus();
}

absl::Status WorkerSet::OpenQueue(Worker& worker) {
  if (worker.queue) return absl::OkStatus();
  absl::StatusOr<net::HandoffQueue> queue = net::HandoffQueue::Create();
  if (!queue.ok()) return queue.status();
  // For all that are still to come: none of them costs an allocation then.
  proc::ReserveHiddenFds(2 * unopened_--);
  worker.hidden_offering = proc::HiddenFd(queue->fd_to_offer());
  worker.hidden_awaiting = proc::HiddenFd(queue->fd_to_await());
  worker.queue.emplace(*std::move(queue));
  return absl::OkStatus();
}

// One that cannot be emptied would tell the next one what was for the last.
void WorkerSet::DropQueue(Worker& worker) {
  worker.hidden_offering = proc::HiddenFd();
  worker.hidden_awaiting = proc::HiddenFd();
  worker.queue.reset();
  ++unopened_;
}

// In the child.
int WorkerSet::Join(const ChildProgram& program, const Body& body, Index index,
                    int awaiting_fd) {
  if (const absl::optional<int> failed = program.Begin()) return *failed;
  net::HandoffQueue queue = net::HandoffQueue::AdoptAwaiting(awaiting_fd);
  queue.Acknowledge();  // kSayReady
  return body(index, queue);
}

absl::optional<net::HandoffQueue::Message> WorkerSet::AwaitConnection(
    const net::HandoffQueue& queue) {
  absl::StatusOr<net::HandoffQueue::Message> message = queue.Await();
  proc::SyncPoint("worker set: worker sees a message");
  // The end of the queue is the end of the parent; an order says to leave.
  if (!message.ok() || !message->connection) return absl::nullopt;
  return *std::move(message);
}

// Some may have been given a connection before they were looked at, and hold it
// for long.
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
                       Strategy::Events& events) {
  if (idle_.empty()) return false;
  const Index index = idle_.back();
  Worker& worker = workers_[index];
  if (++last_serial_ == 0) ++last_serial_;
  const net::Instant since = net::Now();  // it may be done before we are back
  if (!worker.queue->Offer({slot, last_serial_}, connection).ok()) return false;
  proc::SyncPoint("worker set: offered");
  idle_.pop_back();
  worker.state = State::kServing;
  worker.slot = slot;
  worker.serial = last_serial_;
  events.Serving(slot, worker.pid, since);
  return true;
}

absl::optional<WorkerSet::Slot> WorkerSet::Finished(Index index, pid_t pid,
                                                    uint32_t serial,
                                                    bool leaves) {
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
    reaper_->Retag(worker.pid, worker.slot);
    Vacate(index);
  }
}

void WorkerSet::Ended(const proc::Reaper::Ended& ended, net::Instant now,
                      Strategy::Events& events) {
  const Index index = ended.tag & ~kWorkerTag;
  Worker& worker = workers_[index];
  const State state = worker.state;
  const Slot slot = worker.slot;
  // What is still in the queue it had not got round to.
  bool was_ready = true;
  absl::optional<net::Connection> not_taken;
  absl::Status lost;
  while (!worker.queue->Empty()) {
    auto left = worker.queue->TakeBack();
    if (left.ok() && *left) {
      if ((*left)->connection) {
        not_taken = std::move((*left)->connection);
      } else if ((*left)->ticket == kSayReady) {
        was_ready = false;
      }
      continue;
    }
    // No descriptor is free to take it back with, perhaps: drop it, and say so.
    if (!left.ok()) lost = left.status();
    if (worker.queue->Acknowledge()) continue;
    DropQueue(worker);
    break;
  }
  if (state == State::kIdle) {
    idle_.erase(std::find(idle_.begin(), idle_.end(), index));
  }
  if (!was_ready) {
    log_->DiedAtStart(ended.pid, ended.status, backoff_.DiedAtStart(now));
  }
  if (!worker.ready) --starting_;
  Vacate(index);
  next_fork_ = net::Instant::min();
  if (state != State::kServing) return;
  if (not_taken) {
    events.Returned(slot, *std::move(not_taken));
  } else if (!lost.ok()) {
    events.Failed(slot, lost);
  } else {
    events.Ended(slot, ended.pid, ended.status, now);
  }
}

void WorkerSet::DismissIdle(size_t left) {
  while (idle_.size() > left) Dismiss(idle_.front());
}

void WorkerSet::BeginGeneration() {
  ++generation_;
  DismissIdle(0);
  next_fork_ = net::Instant::min();
}

void WorkerSet::Dismiss(Index index) {
  Worker& worker = workers_[index];
  idle_.erase(std::find(idle_.begin(), idle_.end(), index));
  worker.state = State::kLeaving;
  if (!worker.queue->Order(kLeave).ok()) {
    reaper_->Signal(worker.pid, SIGTERM).IgnoreError();
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
