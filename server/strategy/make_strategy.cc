// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/make_strategy.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "brood/server/strategy/auto_strategy.h"
#include "brood/server/strategy/fork_per_connection.h"
#include "brood/server/strategy/pool.h"
#include "brood/server/strategy/program_launcher.h"
#include "brood/server/strategy/spares.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/server/strategy/zygote/zygote.h"
#include "brood/server/strategy_kind.h"

namespace brood::server {
namespace {

absl::StatusOr<std::unique_ptr<Strategy>> MakePool(
    const Options& options, std::unique_ptr<Strategy> fork,
    const StrategyEnvironment& environment) {
  absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
  if (!reports.ok()) return reports.status();
  return std::make_unique<Pool>(options.Capacity(),
                                options.pool.max_connections, std::move(fork),
                                *std::move(reports), environment);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(
    const Options& options, const StrategyEnvironment& environment) {
  ProgramLauncher launcher = ProgramLauncher::For(options, environment);
  // The cost of a launch does not depend on the size of this process.
  const int64_t largest_to_fork = launcher.launches()
                                      ? std::numeric_limits<int64_t>::max()
                                      : Options::kLargestToFork;
  auto fork = std::make_unique<ForkPerConnection>(
      environment.spawner, environment.reaper, environment.program,
      std::move(launcher));
  switch (options.strategy) {
    case StrategyKind::kFork:
      return fork;
    case StrategyKind::kSpares:
      return std::make_unique<Spares>(static_cast<size_t>(options.spares.min),
                                      static_cast<size_t>(options.spares.max),
                                      std::move(fork), environment);
    case StrategyKind::kPool:
      return MakePool(options, std::move(fork), environment);
    case StrategyKind::kZygote:
      return std::make_unique<Zygote>(options.Capacity(), environment);
    case StrategyKind::kAuto:
      return std::make_unique<AutoStrategy>(
          std::make_unique<Zygote>(options.Capacity(), environment),
          std::move(fork), largest_to_fork);
  }
  return absl::InvalidArgumentError("strategy: must be an enumerator");
}

size_t PagesFor(const Options& options) {
  const size_t slots = options.Capacity();
  return options.strategy == StrategyKind::kPool ? 2 * slots : slots;
}

}  // namespace brood::server
