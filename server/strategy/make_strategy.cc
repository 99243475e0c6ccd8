// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/make_strategy.h"

#include <cstddef>
#include <string>
#include <utility>

#include "brood/server/strategy/auto_strategy.h"
#include "brood/server/strategy/fork_per_connection.h"
#include "brood/server/strategy/pool.h"
#include "brood/server/strategy/spares.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/server/strategy/zygote.h"

namespace brood::server {
namespace {

absl::StatusOr<std::unique_ptr<Strategy>> MakePool(
    const Options& options, std::unique_ptr<Strategy> fork,
    const StrategyEnvironment& environment) {
  absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
  if (!reports.ok()) return reports.status();
  return std::make_unique<Pool>(
      options.Capacity(), options.max_connections_per_worker, std::move(fork),
      *std::move(reports), environment);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(
    const Options& options, const StrategyEnvironment& environment) {
  auto fork = std::make_unique<ForkPerConnection>(
      environment.spawner, environment.reaper, environment.program);
  const std::string& name = options.strategy;
  std::unique_ptr<Strategy> made;
  if (name == "spares") {
    made = std::make_unique<Spares>(static_cast<size_t>(options.min_spares),
                                    static_cast<size_t>(options.max_spares),
                                    std::move(fork), environment);
  } else if (name == "pool") {
    return MakePool(options, std::move(fork), environment);
  } else if (name == "zygote") {
    made = std::make_unique<Zygote>(options.Capacity(), environment);
  } else if (name == "auto") {
    made = std::make_unique<AutoStrategy>(
        std::make_unique<Zygote>(options.Capacity(), environment),
        std::move(fork), Options::kLargestToFork);
  } else {
    made = std::move(fork);
  }
  return made;
}

}  // namespace brood::server
