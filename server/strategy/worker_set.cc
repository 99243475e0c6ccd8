#include "brood/server/strategy/worker_set.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "absl/status/statusor.h"
#include "brood/proc/child.h"
#include "brood/proc/sync_point.h"

namespace brood::server {
namespace {

// What a message without a connection asks of a member.
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

Crew::Crew(size_t size, proc::Reaper* reaper, EventLog* log,
           const ChildProgram* program, Life life, int kept_fd)
    : reaper_(reaper),
      log_(log),
      program_(program),
      life_(std::make_unique<const Life>(std::move(life))),
      kept_fd_(kept_fd),
      members_(size),
      unopened_(size) {
  idle_.reserve(size);
  absent_.reserve(size);
  for (size_t index = size; index > 0; --index) {
    absent_.push_back(static_cast<Index>(index - 1));
  }
}

void Crew::ForkUpTo(size_t wanted_idle, const proc::Spawner& spawner,
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

absl::Status Crew::Fork(const proc::Spawner& spawner) {
  const Index index = absent_.back();
  Member& member = members_[index];
  absl::Status opened = OpenQueue(member);
  if (!opened.ok()) return opened;
  // In its queue before it is born: it can't overtake it.
  absl::Status ordered = member.queue->Order(kSayReady);
  if (!ordered.ok()) return ordered;
  std::array<int, 2> kept = {member.queue->fd_to_await(), kept_fd_};
  std::sort(kept.begin(), kept.end());
  // By value: the child can't look at our members.
  const int awaiting_fd = member.queue->fd_to_await();
  const ChildProgram& program = *program_;
  const Life& life = *life_;
  absl::StatusOr<proc::Child> child = spawner.Spawn(
      [&] { return Join(program, life, index, awaiting_fd); }, kept);
  if (!child.ok()) {
    if (!member.queue->Acknowledge()) DropQueue(member);
    return child.status();
  }
  absent_.pop_back();
  member.state = State::kIdle;
  member.ready = false;
  member.pid = child->pid();
  member.generation = generation_;
  reaper_->Adopt(*std::move(child), kMemberTag | index);
  idle_.push_back(index);
  ++starting_;
  return absl::OkStatus();
}

absl::Status Crew::OpenQueue(Member& member) {
  if (member.queue) return absl::OkStatus();
  absl::StatusOr<net::HandoffQueue> queue = net::HandoffQueue::Create();
  if (!queue.ok()) return queue.status();
  // For all that are still to come: none of them costs an allocation then.
  proc::ReserveHiddenFds(2 * unopened_--);
  member.hidden_offering = proc::HiddenFd(queue->fd_to_offer());
  member.hidden_awaiting = proc::HiddenFd(queue->fd_to_await());
  member.queue.emplace(*std::move(queue));
  return absl::OkStatus();
}

// One that cannot be emptied would tell the next one what was for the last.
void Crew::DropQueue(Member& member) {
  member.hidden_offering = proc::HiddenFd();
  member.hidden_awaiting = proc::HiddenFd();
  member.queue.reset();
  ++unopened_;
}

// In the child.
int Crew::Join(const ChildProgram& program, const Life& life, Index index,
               int awaiting_fd) {
  if (const absl::optional<int> failed = program.Begin()) return *failed;
  net::HandoffQueue queue = net::HandoffQueue::AdoptAwaiting(awaiting_fd);
  queue.Acknowledge();  // kSayReady
  return life(index, queue);
}

absl::optional<net::HandoffQueue::Message> Crew::AwaitConnection(
    const net::HandoffQueue& queue) {
  absl::StatusOr<net::HandoffQueue::Message> message = queue.Await();
  proc::SyncPoint("crew: member sees a message");
  // The end of the queue is the end of the parent; an order says to leave.
  if (!message.ok() || !message->connection) return absl::nullopt;
  return *std::move(message);
}

// Some may have been given a connection before they were looked at, and hold it
// for long.
void Crew::CountReady() {
  if (starting_ == 0) return;
  const size_t before = starting_;
  for (Member& member : members_) {
    if (member.state == State::kAbsent || member.ready) continue;
    if (!member.queue->Empty()) continue;
    member.ready = true;
    --starting_;
  }
  if (starting_ < before) backoff_.BecameReady();
}

bool Crew::Assign(Slot slot, const net::Connection& connection,
                  Strategy::Events& events) {
  if (idle_.empty()) return false;
  const Index index = idle_.back();
  Member& member = members_[index];
  if (++last_serial_ == 0) ++last_serial_;
  const net::Instant since = net::Now();  // it may be done before we are back
  if (!member.queue->Offer({slot, last_serial_}, connection).ok()) return false;
  proc::SyncPoint("crew: offered");
  idle_.pop_back();
  member.state = State::kServing;
  member.slot = slot;
  member.serial = last_serial_;
  events.Serving(slot, member.pid, since);
  return true;
}

absl::optional<Crew::Slot> Crew::Finished(Index index, pid_t pid,
                                          uint32_t serial, bool leaves) {
  if (index >= members_.size()) return absl::nullopt;
  Member& member = members_[index];
  if (member.state != State::kServing || member.pid != pid ||
      member.serial != serial) {
    return absl::nullopt;
  }
  MarkReady(member);
  if (leaves) {
    member.state = State::kLeaving;
  } else {
    member.state = State::kIdle;
    idle_.push_back(index);
    if (member.generation != generation_) Dismiss(index);
  }
  return member.slot;
}

void Crew::ReleaseThoseServing() {
  for (Index index = 0; index < members_.size(); ++index) {
    Member& member = members_[index];
    if (member.state != State::kServing || !member.queue->Empty()) continue;
    MarkReady(member);
    reaper_->Retag(member.pid, member.slot);
    Vacate(index);
  }
}

void Crew::Ended(const proc::Reaper::Ended& ended, net::Instant now,
                 Strategy::Events& events) {
  const Index index = ended.tag & ~kMemberTag;
  Member& member = members_[index];
  const State state = member.state;
  const Slot slot = member.slot;
  // What is still in the queue it had not got round to.
  bool was_ready = true;
  absl::optional<net::Connection> not_taken;
  absl::Status lost;
  while (!member.queue->Empty()) {
    auto left = member.queue->TakeBack();
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
    if (member.queue->Acknowledge()) continue;
    DropQueue(member);
    break;
  }
  if (state == State::kIdle) {
    idle_.erase(std::find(idle_.begin(), idle_.end(), index));
  }
  if (!was_ready) {
    log_->DiedAtStart(ended.pid, ended.status, backoff_.DiedAtStart(now));
  }
  if (!member.ready) --starting_;
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

void Crew::DismissIdle(size_t left) {
  while (idle_.size() > left) Dismiss(idle_.front());
}

void Crew::BeginGeneration() {
  ++generation_;
  DismissIdle(0);
  next_fork_ = net::Instant::min();
}

void Crew::Dismiss(Index index) {
  Member& member = members_[index];
  idle_.erase(std::find(idle_.begin(), idle_.end(), index));
  member.state = State::kLeaving;
  if (!member.queue->Order(kLeave).ok()) {
    reaper_->Signal(member.pid, SIGTERM).IgnoreError();
  }
}

void Crew::MarkReady(Member& member) {
  if (member.ready) return;
  member.ready = true;
  --starting_;
  backoff_.BecameReady();
}

void Crew::Vacate(Index index) {
  members_[index].state = State::kAbsent;
  members_[index].pid = 0;
  absent_.push_back(index);
}

}  // namespace brood::server
