// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/worker_set.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <iterator>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "brood/net/unique_fd.h"
#include "brood/proc/sync_point.h"

namespace brood::server {
namespace {

// The messages without a connection: one that a worker acknowledges when it is
// ready, and the command to exit.
constexpr net::HandoffQueue::Ticket kReportReady = {0, 0};
constexpr net::HandoffQueue::Ticket kLeave = {1, 0};

// The time until the set checks again whether the workers that were forked last
// are ready: most are ready within a fraction of the first period. It doubles
// as long as none of them becomes ready.
constexpr absl::Duration kFirstReadyPeriod = absl::Milliseconds(2);
constexpr absl::Duration kLastReadyPeriod = absl::Milliseconds(64);

bool operator==(const net::HandoffQueue::Ticket& a,
                const net::HandoffQueue::Ticket& b) {
  return a.slot == b.slot && a.serial == b.serial;
}

// Returns whether `count` more descriptors can be opened, by opening them. The
// lowest free number is no answer, because higher numbers may be in use.
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
                     Body body, const Settings& settings)
    : environment_(environment),
      body_(std::make_unique<const Body>(std::move(body))),
      settings_(settings),
      workers_(size),
      unopened_(size),
      ready_period_(kFirstReadyPeriod) {
  idle_.reserve(size);
  absent_.reserve(size);
  for (size_t index = size; index > 0; --index) {
    absent_.push_back(static_cast<Index>(index - 1));
  }
}

void WorkerSet::ForkUpTo(size_t wanted_idle, net::Instant now) {
  const bool any_is_ready = CountReady();
  const size_t starting_before = starting_;
  next_fork_ = net::Instant::min();
  for (size_t left = backoff_.Allowance(starting_, now);
       left > 0 && idle_.size() < wanted_idle && !absent_.empty(); --left) {
    const bool was_short = is_short_;
    const absl::Status forked = Fork(now);
    if (forked.ok()) continue;
    const absl::Duration pause = backoff_.DiedAtStart(now);
    // Logs it once: the limit may stay too low as long as the server runs.
    if (!was_short || !is_short_) {
      environment_.log->PreforkFailed(forked, pause);
    }
    break;
  }
  if (idle_.size() >= wanted_idle) return;
  if (any_is_ready || starting_ != starting_before) {
    ready_period_ = kFirstReadyPeriod;
    looked_at_ = now;
  } else if (now >= net::After(looked_at_, ready_period_)) {
    ready_period_ = std::min(2 * ready_period_, kLastReadyPeriod);
    looked_at_ = now;
  }
  next_fork_ =
      std::max(backoff_.resume_at(), net::After(looked_at_, ready_period_));
}

absl::Status WorkerSet::Fork(net::Instant now) {
  const Index index = absent_.back();
  Worker& worker = workers_[index];
  absl::Status opened = OpenQueue(index);
  if (!opened.ok()) return opened;
  // The message is in the queue before the worker exists, so that it is the
  // first one.
  absl::Status told = worker.queue->Order(kReportReady);
  if (!told.ok()) {
    DropQueue(worker);
    return told;
  }
  // Captured by value: the child cannot read the members, which are in
  // parent-only memory.
  const int awaiting_fd = worker.queue->fd_to_await();
  const ChildProgram& program = *environment_.program;
  const Body& body = *body_;
  absl::StatusOr<proc::Child> child = environment_.spawner->Spawn(
      [&] { return Join(program, body, index, awaiting_fd); },
      {&awaiting_fd, 1});
  if (!child.ok()) {
    DropQueue(worker);
    return child.status();
  }
  absent_.pop_back();
  worker.state = State::kIdle;
  worker.ready = false;
  worker.is_condemned = false;
  worker.pid = child->pid();
  worker.generation = generation_;
  worker.connections = 0;
  worker.forked_at = now;
  worker.end_at = net::Never();
  environment_.reaper->Adopt(*std::move(child), ChildTag::Worker(index).Pack());
  idle_.push_back(index);
  ++starting_;
  return absl::OkStatus();
}

absl::Status WorkerSet::OpenQueue(Index index) {
  Worker& worker = workers_[index];
  if (worker.queue->valid()) return absl::OkStatus();
  absl::StatusOr<net::HandoffQueue> queue = net::HandoffQueue::Create();
  if (queue.ok() && !CanOpen(kReserved, queue->fd_to_await())) {
    queue = absl::ResourceExhaustedError(
        absl::StrCat("a worker would leave fewer than ", kReserved,
                     " descriptors free (ulimit -n)"));
  }
  is_short_ = !queue.ok();
  if (!queue.ok()) return queue.status();
  if (settings_.reports != nullptr) {
    // Without this option, a handler could make the kernel drop connections,
    // and the parent would not notice.
    const int on = 1;
    if (setsockopt(queue->fd_to_await(), SOL_SOCKET, SO_LOCK_FILTER, &on,
                   sizeof(on)) < 0) {
      return absl::ErrnoToStatus(errno, "setsockopt SO_LOCK_FILTER");
    }
    absl::Status watched =
        settings_.reports->Watch(queue->fd_to_offer(), index);
    if (!watched.ok()) return watched;
  }
  // Reserves room for the queues of all places, so that later queues need no
  // allocation.
  proc::ReservePrivateFds(2 * unopened_--);
  worker.queue = proc::Private<net::HandoffQueue>(*std::move(queue));
  return absl::OkStatus();
}

void WorkerSet::DropQueue(Worker& worker) {
  if (!worker.queue->valid()) return;
  if (settings_.reports != nullptr) {
    settings_.reports->Unwatch(worker.queue->fd_to_offer());
  }
  worker.queue = proc::Private<net::HandoffQueue>();
  ++unopened_;
}

int WorkerSet::Join(const ChildProgram& program, const Body& body, Index index,
                    int awaiting_fd) {
  if (const absl::optional<int> failed = program.Begin()) return *failed;
  net::HandoffQueue queue = net::HandoffQueue::AdoptAwaiting(awaiting_fd);
  queue.Acknowledge();  // kReportReady
  return body(index, queue);
}

absl::optional<net::HandoffQueue::Message> WorkerSet::AwaitConnection(
    const net::HandoffQueue& queue) {
  queue.AwaitFromTheStart();
  absl::StatusOr<net::HandoffQueue::Message> message = queue.Await();
  proc::SyncPoint("worker set: worker sees a message");
  // The queue has ended because the parent has, or the message is the command
  // to exit.
  if (!message.ok() || !message->connection) return absl::nullopt;
  return *std::move(message);
}

// Workers that serve are checked, too: a worker may have got a connection
// before it was checked, and hold it for long.
bool WorkerSet::CountReady() {
  if (starting_ == 0) return false;
  const size_t before = starting_;
  for (Worker& worker : workers_) {
    if (worker.state == State::kAbsent || worker.ready) continue;
    if (!worker.queue->Empty()) continue;
    worker.ready = true;
    --starting_;
  }
  if (starting_ == before) return false;
  backoff_.BecameReady();
  return true;
}

// Kills a worker that has shut its queue down, and tries the next one. If the
// kernel refuses the message for another reason, the worker has not caused it.
bool WorkerSet::Assign(Slot slot, const net::Connection& connection,
                       net::Instant now, Strategy::Events& events) {
  for (size_t place = idle_.size(); place > 0; --place) {
    const Index index = idle_[place - 1];
    Worker& worker = workers_[index];
    if (++last_serial_ == 0) ++last_serial_;
    const absl::Status offered =
        worker.queue->Offer({slot, last_serial_}, connection);
    if (absl::IsFailedPrecondition(offered)) {
      Condemn(index, "it shut its queue down", now);
      continue;
    }
    // Its queue is full, because it is not ready yet.
    if (absl::IsUnavailable(offered)) continue;
    if (!offered.ok()) return false;
    proc::SyncPoint("worker set: offered");
    NoLongerIdle(index);
    worker.state = State::kServing;
    worker.slot = slot;
    worker.serial = last_serial_;
    worker.assigned_at = now;
    ++worker.connections;
    events.Assigned(
        slot, worker.pid, now,
        settings_.first_page ? *settings_.first_page + index : slot);
    return true;
  }
  return false;
}

void WorkerSet::ReleaseServing() {
  for (Index index = 0; index < workers_.size(); ++index) {
    Worker& worker = workers_[index];
    if (worker.state != State::kServing || !worker.queue->Empty()) continue;
    MarkReady(worker);
    environment_.reaper->Retag(worker.pid,
                               ChildTag::Connection(worker.slot).Pack());
    // The worker has closed its end itself, before its handler began.
    Vacate(index);
  }
}

void WorkerSet::Ended(Index index, const proc::Reaper::Ended& ended,
                      net::Instant now, Strategy::Events& events) {
  Worker& worker = workers_[index];
  const State state = worker.state;
  const Slot slot = worker.slot;
  Leftovers left = EmptyQueue(worker);
  if (state == State::kIdle) NoLongerIdle(index);
  if (DiedAtStart(worker, left.was_ready, now)) {
    environment_.log->WorkerDiedAtStart(ended.pid, ended.status,
                                        backoff_.DiedAtStart(now));
  }
  if (!worker.ready) --starting_;
  DropQueue(worker);
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

// The worker that is forked next may die in the same way.
bool WorkerSet::DiedAtStart(const Worker& worker, bool was_ready,
                            net::Instant now) const {
  if (worker.state == State::kServing) return !was_ready;
  const bool was_told = worker.state == State::kLeaving && !worker.is_condemned;
  return !was_told && worker.connections == 0 &&
         now < net::After(worker.forked_at, kProof);
}

// The worker had not taken over what is still in its queue.
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
    // There may be no free descriptor for the connection: it is dropped, and
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

// Closes the oldest queue: its descriptors have the lowest numbers, which can
// be used again even if the limit was lowered.
void WorkerSet::FreeDescriptors() {
  for (const Index index : absent_) {
    if (!workers_[index].queue->valid()) continue;
    DropQueue(workers_[index]);
    return;
  }
  if (idle_.empty()) return;
  Dismiss(idle_.front());
}

// The next EndOverdue() sets when the worker must have exited, because it knows
// the time.
void WorkerSet::Dismiss(Index index) {
  Worker& worker = workers_[index];
  NoLongerIdle(index);
  worker.state = State::kLeaving;
  next_end_ = net::Instant::min();
  if (!worker.queue->Order(kLeave).ok()) {
    environment_.reaper->Signal(worker.pid, SIGTERM).IgnoreError();
  }
}

// The worker is nearly always the last of the idle ones.
void WorkerSet::NoLongerIdle(Index index) {
  const auto place = std::find(idle_.rbegin(), idle_.rend(), index);
  if (place != idle_.rend()) idle_.erase(std::next(place).base());
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
