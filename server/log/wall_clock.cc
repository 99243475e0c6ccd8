// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/wall_clock.h"

#include <chrono>  // NOLINT(build/c++11): the clock that rules name.

namespace brood::server {

absl::Time WallClockNow() {
  return absl::FromChrono(std::chrono::system_clock::now());
}

}  // namespace brood::server
