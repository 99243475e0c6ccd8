// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_NET_INSTANT_H_
#define BROOD_NET_INSTANT_H_

#include <algorithm>
#include <chrono>  // NOLINT(build/c++11): absl has no monotonic clock.
#include <climits>
#include <cstdint>

#include "absl/time/time.h"

namespace brood::net {

// Instant is a point in time of the monotonic clock.
//
// Deadlines and ages are measured on this clock, because a change of the
// machine's date does not move it. absl::Time is the date, and does not convert
// to an Instant. Lengths of time are absl::Duration.
//
// Works in every process; an instant of a parent is valid in its children. A
// value. No errors: a result outside of the range of its type becomes the
// nearest value inside.
//
// Example:
//   const Instant deadline = After(Now(), absl::Seconds(5));
//   const absl::Duration left = TimeUntil(deadline, Now());
//   if (left == absl::ZeroDuration()) return ExitCode::kDeadlineExceeded;
using Instant = std::chrono::steady_clock::time_point;

// Returns the deadline of a wait that has none. (A function, because a constant
// would lie in a page that each child has to map.)
constexpr Instant Never() { return Instant::max(); }

// Returns the present.
inline Instant Now() { return std::chrono::steady_clock::now(); }

// Returns the instant that is `length` after `start`; Never() if it is later
// than every Instant, and Instant::min() if it is earlier.
inline Instant After(Instant start, absl::Duration length) {
  if (start == Never()) return Never();
  // The difference of two instants may overflow; that of two durations does
  // not.
  const absl::Duration at = absl::FromChrono(start.time_since_epoch()) + length;
  if (at >= absl::FromChrono(Never().time_since_epoch())) return Never();
  return Instant(absl::ToChronoNanoseconds(at));
}

// Returns how long it is from `now` until `deadline`: zero if it has passed,
// infinite for Never().
inline absl::Duration TimeUntil(Instant deadline, Instant now) {
  if (deadline == Never()) return absl::InfiniteDuration();
  if (deadline <= now) return absl::ZeroDuration();
  return absl::FromChrono(deadline.time_since_epoch()) -
         absl::FromChrono(now.time_since_epoch());
}

// Returns `length` for a system call that takes milliseconds as an int: rounded
// up, so that a wait does not end too early, and at most INT_MAX (24.8 days),
// after which the caller must wait again. A negative length becomes zero.
inline int KernelMilliseconds(absl::Duration length) {
  const absl::Duration whole = absl::Ceil(length, absl::Milliseconds(1));
  return static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(whole), 0, INT_MAX));
}

// Returns `length` for a socket option that takes seconds or milliseconds of at
// most 32767 s, as those of TCP do: whole seconds, and at least one.
inline int KernelSeconds(absl::Duration length) {
  return static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Seconds(length), 1, 32767));
}

}  // namespace brood::net

#endif  // BROOD_NET_INSTANT_H_
