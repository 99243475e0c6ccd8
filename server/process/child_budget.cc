// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/child_budget.h"

#include "brood/server/strategy_kind.h"

namespace brood::server {
namespace {

// A zygote, its standby, a standby that becomes the zygote while another is
// created, and the child of the rehearsal.
constexpr size_t kOwn = 4;

// The largest number of programs of upgrades at a time: eight old ones, the
// newest, one that starts, and one that was started too late and is being
// killed.
constexpr size_t kPrograms = 11;

size_t MostAhead(const Options& options) {
  switch (options.strategy) {
    case StrategyKind::kPool:
      return static_cast<size_t>(options.pool.workers);
    case StrategyKind::kSpares:
      // As many spares again may be about to take their connections over.
      return 2 * static_cast<size_t>(options.spares.max);
    case StrategyKind::kFork:
    case StrategyKind::kZygote:
    case StrategyKind::kAuto:
      break;
  }
  return 0;
}

}  // namespace

size_t MostChildren(const Options& options) {
  return options.Capacity() + MostAhead(options) + kOwn + kPrograms;
}

}  // namespace brood::server
