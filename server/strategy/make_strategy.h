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
// this one, a line here, and a line in the table of names (option_names.cc).
//
// Errors: those of the queues that a strategy needs, naming the call.
//
// Example:
//   auto strategy = MakeStrategy(options, environment);
absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(
    const Options& options, const StrategyEnvironment& environment);

// Returns the number of pages to which the handlers of a server with `options`
// report. The first pages are those of the slots. A worker of a pool serves
// connections of many slots, must not have the pages of the slots, and so has a
// page of its own.
size_t PagesFor(const Options& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_MAKE_STRATEGY_H_
