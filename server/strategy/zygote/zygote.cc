// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/zygote/zygote.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "brood/net/event_fd.h"
#include "brood/proc/child.h"
#include "brood/proc/errors/errno_status.h"
#include "brood/proc/sync_point.h"
#include "brood/server/strategy/fork_per_connection.h"

namespace brood::server {
namespace {

using Kind = ChildTag::Kind;

// The time from one repair to the next.
constexpr absl::Duration kRepairPeriod = absl::Milliseconds(20);

// How long the zygote may take to create its first child. On a machine that is
// not busy it takes less than a millisecond.
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
  // Two more cells: for the standby and for the rehearsal.
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

absl::Status Zygote::SpawnMissing() {
  absl::Status ready = environment_.spawner->Prepare();
  if (ready.ok()) ready = process_->table().ShareWithChildren();
  if (!ready.ok()) return ready;
  identity_ = proc::ProcessIdentity::Look();
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
  // Captured by value: the child cannot read the members, which are in
  // parent-only memory.
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

// Waits for the doorbell. Nothing else was requested yet, so it rings for the
// rehearsal.
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
  const bool has_room = !dismissed_ && !pending_.full();
  // Made only if it is needed, because it allocates.
  const absl::Status offered =
      has_room ? queue_->Offer({slot, serial}, connection)
               : absl::UnavailableError(
                     dismissed_ ? "the zygote is exiting"
                                : "too many connections wait for the zygote");
  if (!offered.ok()) {
    QueueRefuses(slot, std::move(connection), offered, now, events);
    return;
  }
  proc::SyncPoint("zygote: offered");
  refused_since_ = net::Never();
  if (pending_.empty()) progress_at_ = now;
  pending_.Add(slot, serial);
}

// How much the queue holds depends on the limits of sockets
// (net.core.wmem_default), and on how many descriptors of this user are in
// transit in all sockets. The supervisor keeps the connection until it can be
// queued: if the queue is full, the zygote makes room; otherwise it cannot.
void Zygote::QueueRefuses(Slot slot, net::Connection connection,
                          const absl::Status& why, net::Instant now,
                          Events& events) {
  refused_since_ = std::min(refused_since_, now);
  const bool is_full = absl::IsUnavailable(why) && !pending_.empty();
  if (dismissed_ ||
      (!is_full && now >= net::After(refused_since_, kLongestRefusal))) {
    ForkPerConnection direct(environment_.spawner, environment_.reaper,
                             environment_.program);
    if (direct.Prepare().ok()) {
      direct.Dispatch(slot, std::move(connection), now, events);
      return;
    }
  }
  queue_refuses_ = true;
  retry_at_ = net::After(now, kRetryPeriod);
  events.Deferred(slot, std::move(connection), why, now);
}

// Registers the processes that the zygote created, without announcing them.
void Zygote::AdoptSpawned() {
  if (process_ == nullptr) return;
  proc::SyncPoint("zygote: about to read records");
  pending_.Read(process_->table(), [this](pid_t pid, Slot slot) {
    environment_.reaper->Adopt(proc::Child::Adopt(pid),
                               ChildTag::Connection(slot).Pack());
  });
  const pid_t standby = TakeSpawned(process_->standby_cell(), &standby_serial_,
                                    ChildTag::Standby());
  if (standby != 0) standby_pid_ = standby;
  // A child of the rehearsal that came too late for RehearseAtStart().
  TakeSpawned(process_->rehearsal_cell(), &rehearsal_serial_,
              ChildTag::Rehearsal());
}

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
  while (!pending_.empty() && pending_.first().is_known()) {
    const PendingChildren::Entry first = pending_.first();
    pending_.RemoveFirst();
    progress_at_ = now;
    queue_refuses_ = false;
    if (first.is_lost) {
      events.Failed(first.slot,
                    absl::AbortedError(
                        "its message was removed from the queue of the zygote"),
                    now);
    } else if (first.record.pid != 0) {
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

// Compares pids, and not only tags: a standby may have become the zygote since
// its end was reaped.
void Zygote::ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                        net::Instant now, Events& events) {
  if (tag.kind == Kind::kConnection) {
    // The child that has ended may not have been announced yet.
    Announce(now, events);
    events.Ended(tag.index, ended.pid, ended.status, now);
  } else if (ended.pid == zygote_pid_) {
    if (!dismissed_) environment_.log->ZygoteEnded(ended.pid, ended.status);
    ZygoteEnded(now);
  } else if (ended.pid == standby_pid_) {
    standby_pid_ = 0;
  }
}

bool Zygote::Complete() const {
  return zygote_pid_ != 0 && !must_replace_ &&
         (standby_pid_ != 0 || standby_serial_ != 0);
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
  if (dismissed_) {
    KillDismissed(now);
    return;
  }
  if (now >= retry_at_) {
    queue_refuses_ = false;
    retry_at_ = net::Never();
  }
  // No doorbell rings for a connection that was found to be lost.
  Announce(now, events);
  if (closed_ && pending_.empty()) {
    Dismiss(now);
  } else if (!Complete() && now >= next_repair_) {
    Repair(now, events);
  }
  if (now >= stalled_at()) KillStalled(now);
}

void Zygote::Repair(net::Instant now, Events& events) {
  next_repair_ = net::After(now, kRepairPeriod);
  absl::Status repaired;
  if (zygote_pid_ == 0 && Succeed(now)) return;
  if (must_replace_) {
    repaired = Replace();
  } else if (zygote_pid_ == 0) {
    progress_at_ = now;
    repaired = SpawnMissing();
  } else {
    repaired = RequestStandby();
  }
  if (!repaired.ok()) environment_.log->PreforkFailed(repaired, kRepairPeriod);
  if (closed_ && zygote_pid_ == 0) GiveUpQueue(now, events);
}

net::Instant Zygote::alarm(net::Instant now) const {
  const net::Instant events_due =
      EventsWait(now) ? batching_.due(now) : net::Never();
  return std::min({events_due, repair_alarm(), stalled_at(), retry_at_});
}

net::Instant Zygote::repair_alarm() const {
  if (dismissed_) return kill_dismissed_at_;
  if (closed_ && pending_.empty()) return net::Instant::min();
  return Complete() ? net::Never() : next_repair_;
}

absl::Status Zygote::BeginGeneration() {
  return absl::UnimplementedError(
      "strategy=zygote: handlers see the program as it was when the server was "
      "created; create a new one");
}

}  // namespace brood::server
