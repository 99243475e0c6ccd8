// Instant: a point in time that no one can set back.
//
// Deadlines and ages are measured on the monotonic clock, which a change of the
// machine's date does not move. absl::Time is the date; giving it where an
// Instant is wanted does not compile. Lengths of time are absl::Duration.
//
// Works in either process; instants of a parent are valid in its children. A
// value; nothing here can fail.
//
// Example:
//   const Instant deadline = After(Now(), absl::Seconds(5));
//   const absl::Duration left = TimeUntil(deadline, Now());
//   if (left == absl::ZeroDuration()) return ExitCode::kDeadlineExceeded;

#ifndef BROOD_NET_INSTANT_H_
#define BROOD_NET_INSTANT_H_

#include <chrono>  // NOLINT(build/c++11): absl has no monotonic clock.

#include "absl/time/time.h"

namespace brood::net {

using Instant = std::chrono::steady_clock::time_point;

// The deadline of a wait that may take for ever. (A function, and not a
// constant, for a constant lies in a page of its own that each child would have
// to map.)
constexpr Instant Never() { return Instant::max(); }

inline Instant Now() { return std::chrono::steady_clock::now(); }

// `length` after `start`; Never() when that is beyond all time.
inline Instant After(Instant start, absl::Duration length) {
  if (start == Never() || length >= absl::FromChrono(Never() - start)) {
    return Never();
  }
  return start + absl::ToChronoNanoseconds(length);
}

// How long from `now` until `deadline`: zero when it has passed, infinite for
// Never().
inline absl::Duration TimeUntil(Instant deadline, Instant now) {
  if (deadline == Never()) return absl::InfiniteDuration();
  // Not by the sign of the difference: from the beginning of time it overflows.
  if (deadline <= now) return absl::ZeroDuration();
  return absl::FromChrono(deadline - now);
}

}  // namespace brood::net

#endif  // BROOD_NET_INSTANT_H_
