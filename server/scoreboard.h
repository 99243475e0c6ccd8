// SPDX-License-Identifier: Apache-2.0

// The counters moved to totals.h; this header forwards to it until 0.3.
//
// Example:
//   Totals totals;

#ifndef BROOD_SERVER_SCOREBOARD_H_
#define BROOD_SERVER_SCOREBOARD_H_

#include "brood/server/totals.h"

#endif  // BROOD_SERVER_SCOREBOARD_H_
