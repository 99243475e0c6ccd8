// SPDX-License-Identifier: Apache-2.0

// TimerWheel: one alarm for each slot of a table, set and taken back in
// constant time.
//
// Most alarms are taken back, because most connections end long before their
// deadline; so setting and taking back must cost next to nothing, and finding
// those that are due may cost a little. A wheel of buckets, each kTick long; an
// alarm hangs in the bucket of its time, in a list through the slots. Alarms
// beyond one turn of the wheel are met once in each turn, and left.
//
// An alarm goes off within kTick after its time. Pure: times go in. Lives in
// the parent, in memory that children do not get; allocates nothing after its
// creation.
//
// Example:
//   TimerWheel wheel(slots, now);
//   wheel.Set(slot, deadline);
//   ... at wheel.next():
//   wheel.Advance(now, [&](TimerWheel::Slot slot) { Kill(slot); });

#ifndef BROOD_SERVER_DEADLINES_TIMER_WHEEL_H_
#define BROOD_SERVER_DEADLINES_TIMER_WHEEL_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/server/vocabulary/slot.h"

namespace brood::server {

class TimerWheel {
 public:
  static constexpr absl::Duration kTick = absl::Milliseconds(10);
  static constexpr size_t kBuckets = 512;

  TimerWheel(size_t slots, net::Instant now);

  // Sets the alarm of `slot`, instead of one that is set.
  void Set(Slot slot, net::Instant at);
  void Cancel(Slot slot);
  // Calls `due` for each slot whose alarm is over, which is then not set any
  // more; it may set and cancel any.
  void Advance(net::Instant now, absl::FunctionRef<void(Slot)> due);
  // When to Advance(); Never() if no alarm is set.
  net::Instant next() const;

 private:
  static constexpr Slot kNone = ~Slot{0};

  struct Alarm {
    int64_t tick = 0;
    Slot before = kNone;
    Slot after = kNone;
    bool set = false;
  };

  int64_t TickOf(net::Instant at) const;
  Slot& HeadOf(int64_t tick) {
    return heads_[static_cast<size_t>(tick) % kBuckets];
  }
  void Link(Slot slot);
  void Unlink(Slot slot);

  const net::Instant start_;
  int64_t now_ = 0;  // every tick before this one has been seen to
  size_t count_ = 0;
  std::array<Slot, kBuckets> heads_;
  proc::ParentOnlyVector<Alarm> alarms_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_DEADLINES_TIMER_WHEEL_H_
