#include "brood/server/strategy/make_strategy.h"

#include <string>
#include <utility>

#include "brood/proc/spawn.h"
#include "brood/server/strategy/auto_strategy.h"
#include "brood/server/strategy/fork_per_connection.h"
#include "brood/server/strategy/pool.h"
#include "brood/server/strategy/spares.h"
#include "brood/server/strategy/worker_reports.h"
#include "brood/server/strategy/zygote.h"

namespace brood::server {

absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(
    const Options& options, proc::Reaper* reaper, const ChildProgram* program,
    EventLog* log) {
  absl::StatusOr<proc::Spawner> spawner =
      proc::Spawner::Create(reaper->exit_signal());
  if (!spawner.ok()) return spawner.status();
  ForkPerConnection fork(*spawner, reaper, program);
  const std::string& name = options.strategy;

  std::unique_ptr<Strategy> made;
  if (name == "spares") {
    made = std::make_unique<Spares>(static_cast<size_t>(options.min_spares),
                                    static_cast<size_t>(options.max_spares),
                                    std::move(fork), reaper, program, log);
  } else if (name == "pool") {
    absl::StatusOr<WorkerReports> reports = WorkerReports::Create();
    if (!reports.ok()) return reports.status();
    made = std::make_unique<Pool>(
        options.Capacity(), options.max_connections_per_worker, std::move(fork),
        *std::move(reports), reaper, program, log);
  } else if (name == "zygote" || name == "auto") {
    auto zygote = std::make_unique<Zygote>(options.Capacity(), *spawner, reaper,
                                           program, log);
    if (name == "zygote") {
      made = std::move(zygote);
    } else {
      made = std::make_unique<AutoStrategy>(std::move(zygote), std::move(fork),
                                            Options::kLargestToFork);
    }
  } else {
    made = std::make_unique<ForkPerConnection>(std::move(fork));
  }
  return made;
}

}  // namespace brood::server
