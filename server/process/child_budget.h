// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PROCESS_CHILD_BUDGET_H_
#define BROOD_SERVER_PROCESS_CHILD_BUDGET_H_

#include <cstddef>

#include "brood/server/options.h"

namespace brood::server {

// Returns the largest number of children that a server with `options` has at a
// time: children of connections, children that its strategy creates ahead of
// connections, and the programs of upgrades. Tables of children are made with
// this size, so that they allocate nothing in the loop.
//
// Example:
//   auto reaper = proc::Reaper::Create(ownership, MostChildren(options));
size_t MostChildren(const Options& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_PROCESS_CHILD_BUDGET_H_
