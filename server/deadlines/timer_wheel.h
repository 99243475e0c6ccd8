// SPDX-License-Identifier: Apache-2.0

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

// TimerWheel holds one alarm for each slot of a table. An alarm is set and
// cancelled in constant time.
//
// Most alarms are cancelled, because most connections end long before their
// deadline. So setting and cancelling must cost next to nothing, and finding
// the alarms that are due may cost a little; timer_wheel.cc describes how. An
// alarm is due within kTick after its time, and never before it.
//
// Pure: times go in. Lives in the parent, in memory that children do not get.
// Allocates nothing after its creation.
//
// Example:
//   TimerWheel wheel(slots, now);
//   wheel.Set(slot, deadline);
//   ... at wheel.next():
//   wheel.Advance(now, [&](Slot slot) { Kill(slot); });
class TimerWheel {
 public:
  // The length of time of a bucket.
  static constexpr absl::Duration kTick = absl::Milliseconds(10);
  // The number of buckets: a turn of the wheel takes kBuckets times kTick.
  static constexpr size_t kBuckets = 512;

  // Makes a wheel for `slots` slots, without alarms.
  TimerWheel(size_t slots, net::Instant now);

  // Sets the alarm of `slot` to `at`, in place of one that is set.
  void Set(Slot slot, net::Instant at);
  // Cancels the alarm of `slot`, if one is set.
  void Cancel(Slot slot);
  // Calls `due` for each slot whose alarm is due, after removing the alarm.
  // `due` may set and cancel any alarm.
  void Advance(net::Instant now, absl::FunctionRef<void(Slot)> due);
  // Returns when to call Advance(); Never() if no alarm is set.
  net::Instant next() const;

 private:
  static constexpr Slot kNone = ~Slot{0};

  // Alarm is the alarm of a slot, and its place in the list of its bucket.
  struct Alarm {
    int64_t tick = 0;
    Slot before = kNone;
    Slot after = kNone;
    bool set = false;
  };

  // Returns the tick in which an alarm for the time `at` is due; the next one
  // if that time has passed.
  int64_t TickOf(net::Instant at) const;
  // Returns the place of the first slot in the bucket of `tick`, which is kNone
  // if the bucket is empty.
  Slot& HeadOf(int64_t tick) {
    return heads_[static_cast<size_t>(tick) % kBuckets];
  }
  // Adds the alarm of `slot`, which is not set, to the bucket of its tick.
  void Link(Slot slot);
  // Removes the alarm of `slot`, which is set, from the bucket of its tick.
  void Unlink(Slot slot);

  const net::Instant start_;
  int64_t now_ = 0;  // the alarms of every tick before it were handled
  size_t count_ = 0;
  std::array<Slot, kBuckets> heads_;
  proc::ParentOnlyVector<Alarm> alarms_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_DEADLINES_TIMER_WHEEL_H_
