// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaper.h"

#include <sys/wait.h>

#include <algorithm>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <utility>

#include "brood/proc/queue_reaper.h"
#include "brood/proc/reaping/process_stat.h"
#include "brood/proc/sync_point.h"

namespace brood::proc {

absl::StatusOr<std::unique_ptr<Reaper>> Reaper::Create(
    Ownership ownership, size_t expected_children) {
  absl::StatusOr<ExitSignal> exit_signal = ExitSignal::Claim();
  if (!exit_signal.ok()) return exit_signal.status();
  absl::StatusOr<SignalInbox> inbox =
      ownership == Ownership::kEveryChild
          ? SignalInbox::Create({exit_signal->number(), SIGCHLD})
          : SignalInbox::Create({exit_signal->number()});
  if (!inbox.ok()) return inbox.status();
  return std::unique_ptr<Reaper>(new QueueReaper(ownership, expected_children,
                                                 *std::move(exit_signal),
                                                 *std::move(inbox)));
}

QueueReaper::QueueReaper(Ownership ownership, size_t expected_children,
                         ExitSignal exit_signal, SignalInbox inbox)
    : ownership_(ownership),
      exit_signal_(std::move(exit_signal)),
      inbox_(std::move(inbox)),
      table_(expected_children) {
  // At most kBatch entries come from notices, and kBatch from sweeps.
  ended_.reserve(4 * kBatch);
  late_.reserve(4 * kBatch);
  unclaimed_.reserve(2 * kBatch);
  late_notices_.reserve(2 * kBatch);
}

QueueReaper::~QueueReaper() {
  for (size_t cell = table_.NextUsed(0); cell < table_.cell_count();
       cell = table_.NextUsed(cell + 1)) {
    // A child that was given up, or that a tracer holds, is still a child of
    // this process.
    if (!table_.At(cell)->is_returned) continue;
    std::move(table_.At(cell)->child).Release();
    has_given_up_ = true;
  }
  while (inbox_->TryTake()) {
  }
  if (has_given_up_) exit_signal_.KeepUntilExit();
}

Reaper::Instant QueueReaper::next_check() const {
  if (!late_.empty() || !late_notices_.empty() || gives_up_) {
    return Instant::min();
  }
  if (table_.size() > returned_) return std::min(known_check_, any_check_);
  return any_is_due_ ? any_check_ : Instant::max();
}

// The child of a fork server may end, and its notice may be taken, before the
// table of the fork server is read: then the pid is in `unclaimed_`.
void QueueReaper::Adopt(Child child, uint32_t tag) {
  SyncPoint("reaper: about to adopt");
  // A fork server, which is another process, may have sent the number. For wait
  // and kill, a number below 1 stands for a group, or for all processes.
  if (child.pid() <= 0) {
    late_.push_back({std::move(child).Release(), tag, ExitStatus::Unknown()});
    return;
  }
  // The kernel has given the pid to a new child: the child that had it was
  // reaped elsewhere.
  if (Entry* const before = table_.Find(child.pid())) {
    const bool was_returned = before->is_returned;
    const Ended ended = Remove(before, ExitStatus::Unknown());
    if (!was_returned) late_.push_back(ended);
  }
  for (Unclaimed& unclaimed : unclaimed_) {
    if (unclaimed.pid != child.pid()) continue;
    unclaimed.pid = 0;
    if (unclaimed.status) {
      late_.push_back({std::move(child).Release(), tag, *unclaimed.status});
      return;
    }
    late_notices_.push_back(child.pid());
  }
  table_.Insert(std::move(child), tag);
}

absl::Span<const Reaper::Ended> QueueReaper::CleanupChildren(Instant now) {
  ended_.clear();
  unclaimed_.clear();
  ended_.swap(late_);
  for (const pid_t pid : late_notices_) {
    if (Entry* const entry = table_.Find(pid)) AppendIfEnded(entry);
  }
  late_notices_.clear();
  TakeNotices(now);
  if (gives_up_) ReturnGivenUp();
  Sweep(now);
  return ended_;
}

void QueueReaper::TakeNotices(Instant now) {
  for (int taken = 0; taken < kBatch && !full(); ++taken) {
    const absl::optional<siginfo_t> notice = inbox_->TryTake();
    if (!notice) return;
    SyncPoint("reaper: notice taken");
    // Any process of the same user may send this signal. A forged notice has a
    // pid that is not in the table, or that of a live child, for which the wait
    // returns 0.
    if (Entry* const entry = table_.Find(notice->si_pid)) {
      AppendIfEnded(entry);
    } else {
      TakeUnknown(*notice, now);
    }
  }
}

// A handler can create children of this process (CLONE_PARENT). The kernel
// sends a notice of the end of each. If the queue was full, some notices are
// missing, and the next sweep finds these children.
void QueueReaper::TakeUnknown(const siginfo_t& notice, Instant now) {
  const pid_t pid = notice.si_pid;
  // No process can send a positive code to another one. But a child can make
  // the kernel send one for a descriptor, with a number in the place of the pid
  // that the child can hardly choose; so the pid is checked as well.
  if (notice.si_code <= 0 || !IsOurUnknown(pid)) {
    unclaimed_.push_back({pid, absl::nullopt});
  } else {
    const WaitResult result = Wait(pid);
    if (result.kind == WaitResult::Kind::kEnded) {
      unclaimed_.push_back({pid, result.status});
    }
  }
  if (notice.si_code <= 0) return;
  // SIGCHLD may stand for several children.
  any_is_due_ = true;
  if (notice.si_signo == SIGCHLD) {
    any_check_ = now;
  } else if (any_check_ < now) {
    any_check_ = now + std::chrono::milliseconds(50);
  }
}

// Children of the embedder, which waits for them itself, have the exit signal
// SIGCHLD, or that of another reaper.
bool QueueReaper::IsOurUnknown(pid_t pid) const {
  if (ownership_ == Ownership::kEveryChild) return true;
  if (!IsEndedCloneChild(pid)) return false;
  const absl::optional<ProcessStat> stat = ReadProcessStat(pid);
  return !stat || stat->exit_signal == exit_signal_.number();
}

WaitResult QueueReaper::Wait(pid_t pid) {
  WaitResult result =
      WaitForEnd(pid, [this](pid_t stopped) { return CountStop(stopped); });
  if (result.kind == WaitResult::Kind::kEnded) ForgetStops(result.pid);
  return result;
}

int QueueReaper::CountStop(pid_t pid) {
  if (Entry* const entry = table_.Find(pid)) {
    if (entry->stops < kMostStops) ++entry->stops;
    return entry->stops;
  }
  Stopped* free = nullptr;
  for (Stopped& each : stopped_) {
    if (each.pid == pid) return ++each.stops;
    if (each.pid == 0) free = &each;
  }
  if (free == nullptr) return kMostStops;
  *free = {pid, 1};
  return 1;
}

void QueueReaper::ForgetStops(pid_t pid) {
  for (Stopped& each : stopped_) {
    if (each.pid == pid) each = Stopped();
  }
}

bool QueueReaper::AppendIfEnded(Entry* entry) {
  const WaitResult result = Wait(entry->child.pid());
  if (result.kind == WaitResult::Kind::kLives) return false;
  const bool was_returned = entry->is_returned;
  const Ended ended = Remove(entry, result.status);
  if (!was_returned) ended_.push_back(ended);
  return true;
}

// Removes the entry at once: from the wait on, the kernel may give the pid to
// another process.
Reaper::Ended QueueReaper::Remove(Entry* entry, const ExitStatus& status) {
  if (entry->is_returned) {
    --returned_;
  } else if (entry->was_killed) {
    --killed_;
  }
  const uint32_t tag = entry->tag;
  const pid_t pid = std::move(entry->child).Release();
  table_.Remove(entry);
  SyncPoint("reaper: reaped");
  return {pid, tag, status};
}

void QueueReaper::Retag(pid_t pid, uint32_t tag) {
  if (Entry* const entry = table_.Find(pid)) entry->tag = tag;
}

absl::optional<ExitStatus> QueueReaper::Disown(pid_t pid) {
  Entry* const entry = table_.Find(pid);
  if (entry == nullptr || entry->is_returned) return absl::nullopt;
  const WaitResult result = Wait(pid);
  Remove(entry, result.status);
  if (result.kind == WaitResult::Kind::kLives) return absl::nullopt;
  return result.status;
}

absl::Status QueueReaper::Signal(pid_t pid, int signal) {
  Entry* const entry = table_.Find(pid);
  if (entry == nullptr || entry->is_returned) {
    return absl::NotFoundError("kill: not a child of this server");
  }
  absl::Status sent = entry->child.Signal(signal);
  Note(entry, signal, sent);
  return sent;
}

void QueueReaper::Note(Entry* entry, int signal, const absl::Status& sent) {
  if (signal != SIGKILL) return;
  entry->was_refused = !sent.ok();
  if (!sent.ok() || entry->was_killed) return;
  entry->was_killed = true;
  ++killed_;
}

// NotFound means that another wait call has just reaped the child; the next
// sweep finds that.
Reaper::Refused QueueReaper::SignalAll(int signal, uint32_t spared) {
  Refused refused;
  if (signal == SIGKILL) held_pauses_ = false;  // this is the end
  for (size_t cell = table_.NextUsed(0); cell < table_.cell_count();
       cell = table_.NextUsed(cell + 1)) {
    Entry* const entry = table_.At(cell);
    if (entry->tag == spared || entry->is_returned) continue;
    if (signal == SIGKILL && entry->was_killed) continue;
    absl::Status sent = entry->child.Signal(signal);
    Note(entry, signal, sent);
    if (sent.ok() || absl::IsNotFound(sent)) continue;
    if (refused.count++ == 0) {
      refused.pid = entry->child.pid();
      refused.why = std::move(sent);
    }
  }
  return refused;
}

absl::StatusOr<absl::Duration> QueueReaper::ProcessorTime(pid_t pid) {
  const Entry* const entry = table_.Find(pid);
  if (entry == nullptr) {
    return absl::NotFoundError("clock_gettime: not a child of this server");
  }
  return entry->child.ProcessorTime();
}

bool QueueReaper::HasOnlyUnkillable() {
  if (table_.size() == returned_) return false;
  for (size_t cell = table_.NextUsed(0); cell < table_.cell_count();
       cell = table_.NextUsed(cell + 1)) {
    const Entry* const entry = table_.At(cell);
    if (entry->is_returned || entry->was_refused) continue;
    if (!entry->was_killed) return false;
    if (LookAtDeath(entry->child.pid()) != Death::kStuck) return false;
  }
  return true;
}

size_t QueueReaper::GiveUp(absl::Span<pid_t> pids) {
  size_t count = 0;
  for (size_t cell = table_.NextUsed(0); cell < table_.cell_count();
       cell = table_.NextUsed(cell + 1)) {
    const Entry* const entry = table_.At(cell);
    if (entry->is_returned) continue;
    if (count < pids.size()) pids[count] = entry->child.pid();
    ++count;
  }
  gives_up_ = count > 0;
  return count;
}

}  // namespace brood::proc
