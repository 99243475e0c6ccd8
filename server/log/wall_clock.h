// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_WALL_CLOCK_H_
#define BROOD_SERVER_LOG_WALL_CLOCK_H_

#include "absl/time/time.h"

namespace brood::server {

// Returns the time of day, for lines of the log and for reports to the
// embedder.
//
// This clock may be set back at any time, so it is only for the people who read
// them: every decision by time uses net::Now(). Works in every process and
// cannot fail.
absl::Time WallClockNow();

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_WALL_CLOCK_H_
