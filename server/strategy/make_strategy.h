// MakeStrategy: from the name of a strategy to the thing.
//
// Called in the parent, when a server is created. A new strategy is a new pair
// of files beside this one, and a line here and in Options.
//
// Errors: those of proc::Spawner::Create and of the queues that a strategy
// needs, naming the call.
//
// Example:
//   auto strategy = MakeStrategy(options, &reaper, &program, &log);

#ifndef BROOD_SERVER_STRATEGY_MAKE_STRATEGY_H_
#define BROOD_SERVER_STRATEGY_MAKE_STRATEGY_H_

#include <memory>

#include "absl/status/statusor.h"
#include "brood/proc/reaper.h"
#include "brood/server/child/child_program.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

// `options` are valid; the others outlive the strategy.
absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(
    const Options& options, proc::Reaper* reaper, const ChildProgram* program,
    EventLog* log);

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_MAKE_STRATEGY_H_
