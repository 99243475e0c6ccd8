// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_DEADLINES_IDLE_WATCH_H_
#define BROOD_SERVER_DEADLINES_IDLE_WATCH_H_

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

// IdleWatch decides when a connection has been idle for long enough: no byte
// came or went for the whole of a limit, and its process used no processor time
// in at least the second half of it.
//
// A handler that computes while its client waits is thus not idle, and one that
// sleeps is. The kernel reports when the last byte moved, but not when a
// process last ran: its processor time must be read twice. It is not read
// before half of the limit has passed without a byte, so that a connection on
// which bytes move, and one that is short, cost nothing.
//
// A value, pure: the time and what the kernel reports are arguments. Lives in
// the parent, in memory that children do not get.
//
// Example:
//   const net::Instant at = watch.IdleAt(limit, quiet, processor_time, now);
//   if (now >= at) return KillReason::kIdle;
//   ... otherwise look again at `at` ...
class IdleWatch {
 public:
  // Returns how long after the start of a connection it is looked at first.
  static absl::Duration FirstLook(absl::Duration limit) { return limit / 2; }

  // Returns when the connection is idle, unless something happens: at or before
  // `now` if it is. `quiet` is how long no byte has moved at `now`.
  // `processor_time` returns what the process has used in its life; it is
  // called at most once.
  net::Instant IdleAt(absl::Duration limit, absl::Duration quiet,
                      absl::FunctionRef<absl::Duration()> processor_time,
                      net::Instant now) {
    const absl::Duration half = limit / 2;
    if (quiet < half) return net::After(now, half - quiet);
    const absl::Duration used = processor_time();
    if (since_ == net::Never() || used != used_) {
      used_ = used;
      since_ = now;
    }
    return std::max(net::After(now, limit - quiet), net::After(since_, half));
  }

 private:
  // The processor time that was read last, and the first time at which it was
  // that; Never() if it was not read yet.
  absl::Duration used_;
  net::Instant since_ = net::Never();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_DEADLINES_IDLE_WATCH_H_
