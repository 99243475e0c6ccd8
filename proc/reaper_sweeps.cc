// SPDX-License-Identifier: Apache-2.0

// The sweeps of a QueueReaper, which find ends without a notice.

#include <algorithm>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstdint>

#include "brood/proc/queue_reaper.h"
#include "brood/proc/reaping/process_stat.h"

namespace brood::proc {
namespace {

constexpr std::chrono::milliseconds kCheckPeriod(50);
// How much the time between two waits for any child grows with each live child.
// Such a wait walks the list of all children, and costs less than a hundredth
// of a processor in this way.
constexpr std::chrono::microseconds kCheckPeriodPerChild(20);
// For how many children one sweep waits, at about half a microsecond each: at
// most a twenty-fifth of a processor.
constexpr size_t kChildrenPerSweep = 4096;
// How many children one sweep checks for being held by a tracer, at some 15
// microseconds each, and how long after SIGKILL it does so.
constexpr size_t kHeldPerSweep = 32;
constexpr uint32_t kHeldAfter = 10;  // tenths of a second
// How long after the beginning of a round of checks that found none the next
// one begins.
constexpr std::chrono::seconds kHeldPeriod(1);

// Returns `now` plus `period`, or Instant::max() if that is earlier: a caller
// may pass a `now` close to it.
Reaper::Instant After(Reaper::Instant now, Reaper::Instant::duration period) {
  const auto end = Reaper::Instant::max();
  return now > end - period ? end : now + period;
}

}  // namespace

void QueueReaper::Sweep(Instant now) {
  const size_t found_before = ended_.size();
  if (now >= known_check_ && !full()) {
    SweepKnown();
    SweepHeld(now);
    // If the batch is full there may be more ends: the check stays due.
    if (!full()) known_check_ = After(now, kCheckPeriod);
  }
  if (now >= any_check_ && !full()) {
    const size_t unknown_before = unclaimed_.size();
    ownership_ == Ownership::kEveryChild ? SweepAny() : SweepUnknown();
    const size_t found = unclaimed_.size() - unknown_before;
    // Due again a period later, until nothing is found.
    any_is_due_ = found > 0;
    if (!full() && found < kBatch) {
      const auto walks =
          static_cast<int64_t>(table_.size()) * kCheckPeriodPerChild;
      any_check_ = After(now, std::max<Instant::duration>(kCheckPeriod, walks));
    }
  }
  found_by_sweep_ += ended_.size() - found_before;
}

// Finds children whose notice was lost, and those whose status another wait
// call took, or the kernel did not keep.
void QueueReaper::SweepKnown() {
  size_t left = std::min(kChildrenPerSweep, table_.size());
  while (left > 0 && !full()) {
    sweep_cursor_ = table_.NextUsed(sweep_cursor_);
    if (sweep_cursor_ >= table_.cell_count()) {
      sweep_cursor_ = 0;
      if (table_.size() == 0) return;
      continue;
    }
    --left;
    // After a removal the cell may hold another child.
    if (!AppendIfEnded(table_.At(sweep_cursor_))) ++sweep_cursor_;
  }
}

void QueueReaper::SweepAny() {
  for (int waited = 0; waited < kBatch && !full(); ++waited) {
    const WaitResult result = Wait(-1);
    if (result.kind == WaitResult::Kind::kGone || result.pid == 0) return;
    if (result.kind == WaitResult::Kind::kLives) continue;  // a stop
    if (Entry* const entry = table_.Find(result.pid)) {
      const bool was_returned = entry->is_returned;
      const Ended ended = Remove(entry, result.status);
      if (!was_returned) ended_.push_back(ended);
    } else {
      unclaimed_.push_back({result.pid, result.status});
    }
  }
}

// If the kernel returns a child of the embedder or of another reaper first, the
// others are found after its owner has reaped it.
void QueueReaper::SweepUnknown() {
  for (int looked = 0; looked < kBatch; ++looked) {
    const pid_t pid = AnyEndedCloneChild();
    if (pid == 0) return;
    if (table_.Find(pid) != nullptr) return;  // SweepKnown() finds it
    const absl::optional<ProcessStat> stat = ReadProcessStat(pid);
    if (!stat || stat->exit_signal != exit_signal_.number()) return;
    const WaitResult result = Wait(pid);
    if (result.kind != WaitResult::Kind::kEnded) return;
    unclaimed_.push_back({pid, result.status});
  }
}

// The tracer is not signalled, because it may be any process. At least one
// child is checked in each sweep, so that each child is checked in the end.
void QueueReaper::SweepHeld(Instant now) {
  for (size_t checks = ChecksForHeld(now); checks > 0 && !full(); --checks) {
    held_cursor_ = table_.NextUsed(held_cursor_);
    if (held_cursor_ >= table_.cell_count()) held_cursor_ = table_.NextUsed(0);
    if (ReturnIfHeld(table_.At(held_cursor_++))) held_found_ = true;
    if (held_left_ > 0) --held_left_;
  }
  if (killed_ > 0) SweepKilled(now);
}

// A server may be full for hours: a round that found none is followed by a
// pause.
size_t QueueReaper::ChecksForHeld(Instant now) {
  const size_t one = std::min<size_t>(table_.size(), 1);
  if (!looks_everywhere_) return one;
  if (held_left_ == 0) {
    if (held_pauses_ && now < held_round_ && !held_found_) return one;
    held_left_ = table_.size();
    held_found_ = false;
    held_round_ = After(now, kHeldPeriod);
  }
  return std::min({held_left_, kHeldPerSweep, table_.size()});
}

void QueueReaper::SweepKilled(Instant now) {
  size_t looks = kHeldPerSweep;
  const uint32_t ticks = TicksAt(now);
  for (size_t cell = table_.NextUsed(0);
       cell < table_.cell_count() && looks > 0 && !full();
       cell = table_.NextUsed(cell + 1)) {
    Entry* const entry = table_.At(cell);
    if (!entry->was_killed || entry->is_returned) continue;
    if (entry->killed_at == 0) entry->killed_at = ticks;
    if (ticks - entry->killed_at < kHeldAfter) continue;
    --looks;
    // Checked again after another second, so that other children come first.
    entry->killed_at = ticks;
    ReturnIfHeld(entry);
  }
}

bool QueueReaper::ReturnIfHeld(Entry* entry) {
  if (entry->is_returned) return false;
  if (LookAtDeath(entry->child.pid()) != Death::kDead) return false;
  // It may have become reapable since the last wait for it.
  if (AppendIfEnded(entry) || table_.IsCrowded()) return false;
  ReturnUnreaped(entry, ExitStatus::Held());
  return true;
}

uint32_t QueueReaper::TicksAt(Instant now) const {
  const auto tenths = std::chrono::duration_cast<std::chrono::milliseconds>(
                          now.time_since_epoch()) /
                      100;
  return static_cast<uint32_t>(tenths.count()) | 1;
}

// The child stays in the table so that its pid is known when it can be reaped.
void QueueReaper::ReturnUnreaped(Entry* entry, const ExitStatus& status) {
  if (entry->was_killed) --killed_;
  entry->is_returned = true;
  ++returned_;
  ended_.push_back({entry->child.pid(), entry->tag, status});
}

void QueueReaper::ReturnGivenUp() {
  has_given_up_ = true;
  for (size_t cell = table_.NextUsed(0); cell < table_.cell_count();
       cell = table_.NextUsed(cell + 1)) {
    Entry* const entry = table_.At(cell);
    if (entry->is_returned) continue;
    if (full()) return;
    ReturnUnreaped(entry, ExitStatus::GivenUp());
  }
  gives_up_ = false;
}

}  // namespace brood::proc
