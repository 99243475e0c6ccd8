// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/zygote.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "brood/net/event_fd.h"
#include "brood/proc/child.h"
#include "brood/proc/errors/errno_status.h"
#include "brood/proc/sync_point.h"

namespace brood::server {
namespace {

using Kind = ChildTag::Kind;

// How soon after one repair there may be another.
constexpr absl::Duration kRepairPeriod = absl::Milliseconds(20);

// How long the zygote may take to create its first child, which takes it less
// than a millisecond on a machine that is not busy.
constexpr int kRehearsalTimeoutMs = 1000;

// Returns the error of a rehearsal that failed with `error`.
absl::Status RehearsalError(int error) {
  if (error != EINVAL && error != ENOSYS && error != EPERM) {
    return absl::ErrnoToStatus(error, "clone, in the zygote");
  }
  return absl::UnimplementedError(absl::StrCat(
      "strategy=zygote: the kernel or a policy refuses clone with "
      "CLONE_PARENT (",
      proc::ErrnoText(error), "); the strategy fork works without"));
}

}  // namespace

Zygote::Zygote(size_t slots, const StrategyEnvironment& environment)
    : slots_(slots), environment_(environment) {}

absl::Status Zygote::Start() {
  absl::Status opened = Open();
  if (!opened.ok()) return opened;
  dismissed_ = false;
  absl::Status spawned = SpawnMissing();
  // The process has threads.
  if (absl::IsFailedPrecondition(spawned)) {
    return absl::FailedPreconditionError(absl::StrCat(
        spawned.message(), "; create the server before the threads"));
  }
  return spawned;
}

absl::Status Zygote::Open() {
  absl::StatusOr<net::HandoffQueue> queue = net::HandoffQueue::Create();
  if (!queue.ok()) return queue.status();
  absl::StatusOr<net::HandoffQueue> standby_queue = net::HandoffQueue::Create();
  if (!standby_queue.ok()) return standby_queue.status();
  // Two cells more, for the standby and the rehearsal.
  absl::StatusOr<SpawnTable> table = SpawnTable::Create(slots_ + 2);
  if (!table.ok()) return table.status();
  absl::StatusOr<net::EventFd> doorbell = net::EventFd::Create();
  if (!doorbell.ok()) return doorbell.status();
  process_ = std::make_unique<ZygoteProcess>(
      queue->fd_to_await(), standby_queue->fd_to_await(), *std::move(doorbell),
      *std::move(table), environment_.spawner, environment_.program);
  queue_ = proc::Private<net::HandoffQueue>(*std::move(queue));
  standby_queue_ = proc::Private<net::HandoffQueue>(*std::move(standby_queue));
  return absl::OkStatus();
}

// Creates the zygote, the standby, or both.
absl::Status Zygote::SpawnMissing() {
  absl::Status ready = environment_.spawner->Prepare();
  if (ready.ok()) ready = process_->table().ShareWithChildren();
  if (!ready.ok()) return ready;
  if (zygote_pid_ == 0) {
    const absl::StatusOr<pid_t> zygote = Spawn(ChildTag::Zygote());
    ready = zygote.status();
    if (zygote.ok()) {
      zygote_pid_ = *zygote;
      environment_.log->ZygoteServes(zygote_pid_);
    }
  }
  // A standby that was requested from the zygote will still be created: the
  // command is in the queue.
  if (ready.ok() && standby_pid_ == 0 && standby_serial_ == 0) {
    const absl::StatusOr<pid_t> standby = Spawn(ChildTag::Standby());
    ready = standby.status();
    if (standby.ok()) standby_pid_ = *standby;
  }
  process_->table().HideFromChildren();
  return ready;
}

absl::StatusOr<pid_t> Zygote::Spawn(ChildTag tag) {
  // By value: the child cannot read our members.
  ZygoteProcess* const process = process_.get();
  const bool is_zygote = tag.kind == Kind::kZygote;
  absl::StatusOr<proc::Child> child = environment_.spawner->Spawn(
      [process, is_zygote] {
        return is_zygote ? process->RunZygote() : process->RunStandby();
      },
      process->kept_fds());
  if (!child.ok()) return child.status();
  const pid_t pid = child->pid();
  environment_.reaper->Adopt(*std::move(child), tag.Pack());
  return pid;
}

// Nothing else was requested yet, so the doorbell rings for this.
absl::StatusOr<Rehearsal> Zygote::RehearseAtStart() {
  rehearsal_serial_ = NextSerial();
  absl::Status told = queue_->Order({kRehearse, rehearsal_serial_});
  if (!told.ok()) return told;
  pollfd doorbell = {process_->doorbell().fd(), POLLIN, 0};
  TEMP_FAILURE_RETRY(poll(&doorbell, 1, kRehearsalTimeoutMs));
  process_->doorbell().Take();
  const SpawnTable::Record created =
      process_->table().Read(process_->rehearsal_cell(), rehearsal_serial_);
  if (created.error != 0) {
    rehearsal_serial_ = 0;
    return RehearsalError(created.error);
  }
  const pid_t pid = TakeSpawned(process_->rehearsal_cell(), &rehearsal_serial_,
                                ChildTag::Rehearsal());
  if (pid == 0) {
    return absl::DeadlineExceededError(
        "clone, in the zygote: it has created no child within 1 s");
  }
  return Rehearsal{pid, environment_.spawner->fallback()};
}

uint32_t Zygote::NextSerial() {
  if (++last_serial_ == 0) ++last_serial_;
  return last_serial_;
}

void Zygote::Dispatch(Slot slot, net::Connection connection, net::Instant now,
                      Events& events) {
  batching_.Dispatched(now);
  const uint32_t serial = NextSerial();
  const absl::Status offered = queue_->Offer({slot, serial}, connection);
  if (!offered.ok()) {
    events.Refused(slot, std::move(connection), offered, now);
    return;
  }
  proc::SyncPoint("zygote: offered");
  pending(pending_count_++) = {slot, serial, {0, 0, 0}};
}

// Registers the processes that the zygote created, without announcing them.
void Zygote::AdoptSpawned() {
  if (process_ == nullptr) return;
  proc::SyncPoint("zygote: about to read births");
  const SpawnTable& table = process_->table();
  for (; known_ < pending_count_; ++known_) {
    Pending& next = pending(known_);
    next.record = table.Read(next.slot, next.serial);
    if (next.record.pid != 0) {
      environment_.reaper->Adopt(proc::Child::Adopt(next.record.pid),
                                 ChildTag::Connection(next.slot).Pack());
    } else if (next.record.error == 0) {
      break;  // the zygote works in this order
    }
  }
  const pid_t standby = TakeSpawned(process_->standby_cell(), &standby_serial_,
                                    ChildTag::Standby());
  if (standby != 0) standby_pid_ = standby;
  // One that came too late for RehearseAtStart().
  TakeSpawned(process_->rehearsal_cell(), &rehearsal_serial_,
              ChildTag::Rehearsal());
}

// Registers the process that was requested from the zygote with the number
// `*serial`, and returns it. Returns 0 if it does not exist, and resets the
// number if it never will.
pid_t Zygote::TakeSpawned(uint32_t cell, uint32_t* serial, ChildTag tag) {
  if (*serial == 0) return 0;
  const SpawnTable::Record created = process_->table().Read(cell, *serial);
  if (created.pid == 0 && created.error == 0) return 0;
  *serial = 0;
  if (created.pid == 0) return 0;
  environment_.reaper->Adopt(proc::Child::Adopt(created.pid), tag.Pack());
  return created.pid;
}

void Zygote::Announce(net::Instant now, Events& events) {
  while (known_ > 0) {
    const Pending first = pending(0);
    PopPending();
    --known_;
    if (first.record.pid != 0) {
      const net::Instant started_at{std::chrono::nanoseconds(first.record.at)};
      events.Serving(first.slot, first.record.pid,
                     first.record.at != 0 ? started_at : now);
    } else {
      events.Failed(
          first.slot,
          absl::ErrnoToStatus(first.record.error, "clone, in the zygote"), now);
    }
  }
}

void Zygote::PopPending() {
  first_pending_ = (first_pending_ + 1) % kMostQueued;
  --pending_count_;
}

// By pid where a standby may have become the zygote since its end was reaped.
void Zygote::ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                        net::Instant now, Events& events) {
  if (tag.kind == Kind::kConnection) {
    // Perhaps of a child that was not announced yet.
    Announce(now, events);
    events.Ended(tag.index, ended.pid, ended.status, now);
  } else if (ended.pid == zygote_pid_) {
    if (!dismissed_) environment_.log->ZygoteEnded(ended.pid, ended.status);
    ZygoteEnded();
  } else if (ended.pid == standby_pid_) {
    standby_pid_ = 0;
  }
}

// The last process that the zygote created must be known first: it may have
// been a standby.
void Zygote::ZygoteEnded() {
  zygote_pid_ = 0;
  AdoptSpawned();
  if (dismissed_) return;
  // A command that the old zygote did not live to read is not for the next
  // standby.
  if (!standby_queue_->Discard() || standby_pid_ == 0) return;
  PromoteStandby();
}

// The standby goes on where the zygote was interrupted.
void Zygote::PromoteStandby() {
  if (!standby_queue_->Order({kTakeOver, 0}).ok()) return;
  zygote_pid_ = std::exchange(standby_pid_, 0);
  environment_.reaper->Retag(zygote_pid_, ChildTag::Zygote().Pack());
  environment_.log->ZygoteServes(zygote_pid_);
}

bool Zygote::Complete() const {
  return zygote_pid_ != 0 && (standby_pid_ != 0 || standby_serial_ != 0);
}

absl::Status Zygote::RequestStandby() {
  standby_serial_ = NextSerial();
  absl::Status told = queue_->Order({kCreateStandby, standby_serial_});
  if (!told.ok()) standby_serial_ = 0;
  return told;
}

void Zygote::Attend(net::Instant now, Events& events) {
  if (process_ == nullptr) return;
  process_->doorbell().Take();
  AdoptSpawned();
  Announce(now, events);
}

void Zygote::Maintain(net::Instant now, bool /*idle*/, Events& events) {
  if (dismissed_) return;
  if (closed_ && pending_count_ == 0) {
    Dismiss();
  } else if (!Complete() && now >= next_repair_) {
    Repair(now, events);
  }
}

// The connections that waited have been served: both processes may exit.
void Zygote::Dismiss() {
  dismissed_ = true;
  for (const auto* queue : {&*queue_, &*standby_queue_}) {
    queue->Order({kExit, 0}).IgnoreError();
  }
}

void Zygote::Repair(net::Instant now, Events& events) {
  next_repair_ = net::After(now, kRepairPeriod);
  const absl::Status repaired =
      zygote_pid_ == 0 ? SpawnMissing() : RequestStandby();
  if (!repaired.ok()) environment_.log->PreforkFailed(repaired, kRepairPeriod);
  if (closed_ && zygote_pid_ == 0) GiveUpQueue(now, events);
}

net::Instant Zygote::alarm(net::Instant now) const {
  const net::Instant events_due =
      EventsWait(now) ? batching_.due(now) : net::Never();
  return std::min(events_due, repair_alarm());
}

net::Instant Zygote::repair_alarm() const {
  if (dismissed_) return net::Never();
  if (closed_ && pending_count_ == 0) return net::Instant::min();
  return Complete() ? net::Never() : next_repair_;
}

// No process is left to serve the connections that wait, and the server is
// about to stop. Children that were created are no longer among them.
void Zygote::GiveUpQueue(net::Instant now, Events& events) {
  Announce(now, events);
  queue_->Discard();
  while (pending_count_ > 0) {
    const Slot slot = pending(0).slot;
    PopPending();
    events.Failed(slot, absl::UnavailableError("the zygote has ended"), now);
  }
}

absl::Status Zygote::BeginGeneration() {
  return absl::UnimplementedError(
      "strategy=zygote: handlers see the program as it was when the server was "
      "created; create a new one");
}

}  // namespace brood::server
