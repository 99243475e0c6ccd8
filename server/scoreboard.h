// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_SCOREBOARD_H_
#define BROOD_SERVER_SCOREBOARD_H_

// The counters moved to totals.h. This header forwards to it until 0.3.
//
// Example:
//   Totals totals;
#include "brood/server/totals.h"

#endif  // BROOD_SERVER_SCOREBOARD_H_
