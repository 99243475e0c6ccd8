// SPDX-License-Identifier: Apache-2.0

#include "brood/server/deadlines/timer_wheel.h"

#include <algorithm>

// The wheel consists of kBuckets buckets, each kTick long. An alarm is in the
// bucket of its time, in a list through the slots. An alarm that is more than
// one turn of the wheel away is met once in each turn, and left in its bucket.

namespace brood::server {

TimerWheel::TimerWheel(size_t slots, net::Instant now)
    : start_(now), alarms_(slots) {
  heads_.fill(kNone);
}

// Rounds up, so that an alarm is never due before its time.
int64_t TimerWheel::TickOf(net::Instant at) const {
  const absl::Duration since_start = absl::FromChrono(at - start_);
  return std::max(now_, absl::Ceil(since_start, kTick) / kTick);
}

void TimerWheel::Set(Slot slot, net::Instant at) {
  Cancel(slot);
  if (at == net::Never()) return;
  alarms_[slot].tick = TickOf(at);
  Link(slot);
}

void TimerWheel::Cancel(Slot slot) {
  if (alarms_[slot].set) Unlink(slot);
}

void TimerWheel::Link(Slot slot) {
  Alarm& alarm = alarms_[slot];
  Slot& head = HeadOf(alarm.tick);
  alarm.set = true;
  alarm.before = kNone;
  alarm.after = head;
  if (head != kNone) alarms_[head].before = slot;
  head = slot;
  ++count_;
}

void TimerWheel::Unlink(Slot slot) {
  Alarm& alarm = alarms_[slot];
  alarm.set = false;
  if (alarm.before != kNone) {
    alarms_[alarm.before].after = alarm.after;
  } else {
    HeadOf(alarm.tick) = alarm.after;
  }
  if (alarm.after != kNone) alarms_[alarm.after].before = alarm.before;
  --count_;
}

void TimerWheel::Advance(net::Instant now, absl::FunctionRef<void(Slot)> due) {
  const int64_t last = absl::FromChrono(now - start_) / kTick;
  // After more than a turn of the wheel, every bucket is visited once.
  int64_t tick = std::max(now_, last - static_cast<int64_t>(kBuckets) + 1);
  now_ = std::max(now_, last + 1);
  for (; tick <= last; ++tick) {
    // Begins again at the head after each alarm that was due: `due` may have
    // set or cancelled the next one. Alarms of later turns stay in the list.
    Slot slot = HeadOf(tick);
    while (slot != kNone) {
      if (alarms_[slot].tick > last) {
        slot = alarms_[slot].after;
        continue;
      }
      Unlink(slot);
      due(slot);
      slot = HeadOf(tick);
    }
  }
}

net::Instant TimerWheel::next() const {
  if (count_ == 0) return net::Never();
  for (size_t n = 0; n < kBuckets; ++n) {
    const int64_t tick = now_ + static_cast<int64_t>(n);
    if (heads_[static_cast<size_t>(tick) % kBuckets] != kNone) {
      return net::After(start_, tick * kTick);
    }
  }
  return net::Never();
}

}  // namespace brood::server
