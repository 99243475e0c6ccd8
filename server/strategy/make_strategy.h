// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_MAKE_STRATEGY_H_
#define BROOD_SERVER_STRATEGY_MAKE_STRATEGY_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "brood/server/options.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

// Returns the strategy that `options`, which are valid, ask for. Called in the
// parent when a server is created. A new strategy is a pair of files beside
// this one, a line here and one in the table of names.
//
// Errors: those of the queues that a strategy needs, naming the call.
//
// Example:
//   auto strategy = MakeStrategy(options, environment);
absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(
    const Options& options, const StrategyEnvironment& environment);

// Returns how many pages the handlers of a server with `options` report to. The
// first ones are those of the slots. A worker of a pool serves connections of
// many slots and has a page of its own, for it must not have theirs.
size_t PagesFor(const Options& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_MAKE_STRATEGY_H_
