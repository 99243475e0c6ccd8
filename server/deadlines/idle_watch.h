// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_DEADLINES_IDLE_WATCH_H_
#define BROOD_SERVER_DEADLINES_IDLE_WATCH_H_

#include <algorithm>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

// IdleWatch decides when a connection has been idle for long enough: no new
// byte was received or sent for the whole of a limit, and its process used no
// processor time in at least the second half of it.
//
// A handler that computes while its client waits is not idle; a handler that
// sleeps is idle. The kernel does not report when a process last ran, so its
// processor time must be read twice. It is not read before half of the limit
// has passed without a byte, so a connection on which bytes move costs nothing.
//
// A value, pure: the time and what the kernel reports are arguments. Lives in
// the parent, in memory that children do not get.
//
// Example:
//   IdleWatch watch(accepted_at);
//   const net::Instant at =
//       watch.IdleAt(limit, {bytes, since_segment}, processor_time, now);
//   if (now >= at) return KillReason::kIdle;
class IdleWatch {
 public:
  // Traffic is what the kernel reports about a connection.
  struct Traffic {
    // The number of bytes that were received or sent, without those sent again.
    uint64_t bytes = 0;
    // How long ago the last segment was received or sent, with new bytes or
    // without.
    absl::Duration since_segment;
  };

  // Watches a connection on which no byte has moved, from `start` on.
  explicit IdleWatch(net::Instant start = net::Never()) : moved_at_(start) {}

  // Returns how long after the start of a connection to call IdleAt() first.
  static absl::Duration FirstLook(absl::Duration limit) { return limit / 2; }

  // Returns when the connection is idle, unless something happens before: a
  // time at or before `now` if it is idle. Call it again at that time.
  // `traffic` is what the kernel reports at `now`. `processor_time` returns
  // what the process has used in all; it is called at most once.
  net::Instant IdleAt(absl::Duration limit, const Traffic& traffic,
                      absl::FunctionRef<absl::Duration()> processor_time,
                      net::Instant now) {
    if (traffic.bytes > bytes_) {
      bytes_ = traffic.bytes;
      moved_at_ = std::max(moved_at_, net::After(now, -traffic.since_segment));
    }
    const net::Instant half_at = net::After(moved_at_, limit / 2);
    if (now < half_at) return half_at;
    const absl::Duration used = processor_time();
    if (since_ == net::Never() || used != used_) {
      used_ = used;
      since_ = now;
    }
    return std::max(net::After(moved_at_, limit),
                    net::After(since_, limit / 2));
  }

 private:
  // The number of bytes that had moved at the last call, and the latest time at
  // which the last of them moved. Only a count that has grown shows a new byte:
  // the clocks of the kernel also move when bytes are sent again to a client
  // that has lost its power. So the time is exact while nothing is sent again,
  // and otherwise at most half a limit too late.
  uint64_t bytes_ = 0;
  net::Instant moved_at_;
  // The processor time that was read last, and when that value was first read;
  // Never() if it was not read yet.
  absl::Duration used_;
  net::Instant since_ = net::Never();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_DEADLINES_IDLE_WATCH_H_
