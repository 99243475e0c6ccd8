// SPDX-License-Identifier: Apache-2.0

// The sweeps of a reaper: what finds ends of which there is no notice.

#include <algorithm>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstdint>

#include "brood/proc/queue_reaper.h"
#include "brood/proc/reaping/process_stat.h"

namespace brood::proc {
namespace {

constexpr std::chrono::milliseconds kCheckPeriod(50);
// A wait for any child walks the list of all live children. This much more time
// between two walks for each of them keeps their cost below a hundredth.
constexpr std::chrono::microseconds kCheckPeriodPerChild(20);
// How many children one sweep asks for, at about half a microsecond each: at
// most a twenty-fifth of a processor.
constexpr size_t kChildrenPerSweep = 4096;
// How many children one sweep looks at that may be held by a tracer, at some 15
// microseconds each, and how long after SIGKILL.
constexpr size_t kHeldPerSweep = 32;
constexpr uint32_t kHeldAfter = 10;  // tenths of a second
// How long after a round of looks that found none the next one begins.
constexpr std::chrono::seconds kHeldPeriod(1);

// Returns the end of time when that is earlier: a caller may stand there.
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
    // If it is full there may be more: the check stays due.
    if (!full()) known_check_ = After(now, kCheckPeriod);
  }
  if (now >= any_check_ && !full()) {
    const size_t unknown_before = unclaimed_.size();
    ownership_ == Ownership::kEveryChild ? SweepAny() : SweepUnknown();
    const size_t found = unclaimed_.size() - unknown_before;
    // Again a period later, until nothing is found.
    any_is_due_ = found > 0;
    if (!full() && found < kBatch) {
      const auto walks =
          static_cast<int64_t>(table_.size()) * kCheckPeriodPerChild;
      any_check_ = After(now, std::max<Instant::duration>(kCheckPeriod, walks));
    }
  }
  found_by_sweep_ += ended_.size() - found_before;
}

// Asks for the known children, one after the other, whether they have ended.
// Finds those whose notice was lost, and those whose status another wait call
// took, or the kernel did not keep.
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

// The pattern's own loop, for a process that owns all its children.
void QueueReaper::SweepAny() {
  for (int waited = 0; waited < kBatch && !full(); ++waited) {
    const WaitResult result = Wait(-1);
    if (result.kind == WaitResult::Kind::kGone || result.pid == 0) return;
    if (result.kind == WaitResult::Kind::kLives) continue;  // it had stopped
    if (Entry* const entry = table_.Find(result.pid)) {
      const bool was_returned = entry->is_returned;
      const Ended ended = Remove(entry, result.status);
      if (!was_returned) ended_.push_back(ended);
    } else {
      ForgetStops(result.pid);
      unclaimed_.push_back({result.pid, result.status});
    }
  }
}

// Finds children that a handler created (CLONE_PARENT) and whose notices were
// lost. Those of the embedder, and of other reapers, are left alone; if the
// kernel shows one of them first, those behind it are found when it was reaped.
void QueueReaper::SweepUnknown() {
  for (int looked = 0; looked < kBatch; ++looked) {
    const pid_t pid = AnyEndedCloneChild();
    if (pid == 0) return;
    if (table_.Find(pid) != nullptr) return;  // SweepKnown() finds it
    const absl::optional<ProcessStat> stat = ReadProcessStat(pid);
    if (!stat || stat->exit_signal != exit_signal_.number()) return;
    const WaitResult result = Wait(pid);
    if (result.kind != WaitResult::Kind::kEnded) return;
    ForgetStops(pid);
    unclaimed_.push_back({pid, result.status});
  }
}

// Returns children that are dead, and that cannot be reaped because another
// process traces them: their slots are free, whenever that lets them go. The
// tracer is not signalled: it may be any process. One child is looked at in any
// case, so that each is in the end.
void QueueReaper::SweepHeld(Instant now) {
  for (size_t looks = LooksForHeld(now); looks > 0 && !full(); --looks) {
    held_cursor_ = table_.NextUsed(held_cursor_);
    if (held_cursor_ >= table_.cell_count()) held_cursor_ = table_.NextUsed(0);
    if (ReturnIfHeld(table_.At(held_cursor_++))) held_found_ = true;
    if (held_left_ > 0) --held_left_;
  }
  if (killed_ > 0) SweepKilled(now);
}

// Returns how many children to look at now. A server may be full for hours: a
// round that found none is followed by a pause.
size_t QueueReaper::LooksForHeld(Instant now) {
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

// Looks at children that were killed a second ago.
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
    // Not again before another second is over: others come first.
    entry->killed_at = ticks;
    ReturnIfHeld(entry);
  }
}

bool QueueReaper::ReturnIfHeld(Entry* entry) {
  if (entry->is_returned) return false;
  if (LookAtDeath(entry->child.pid()) != Death::kDead) return false;
  // It may have ended since it was asked for.
  if (AppendIfEnded(entry) || table_.IsCrowded()) return false;
  ReturnUnreaped(entry, ExitStatus::Held());
  return true;
}

// Never 0.
uint32_t QueueReaper::TicksAt(Instant now) const {
  const auto tenths = std::chrono::duration_cast<std::chrono::milliseconds>(
                          now.time_since_epoch()) /
                      100;
  return static_cast<uint32_t>(tenths.count()) | 1;
}

// The child stays in the table, so that its pid is known when it can be reaped.
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
