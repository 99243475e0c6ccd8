// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/wall_clock.h"

#include <ctime>

namespace brood::server {

absl::Time WallClockNow() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return absl::TimeFromTimespec(now);
}

}  // namespace brood::server
