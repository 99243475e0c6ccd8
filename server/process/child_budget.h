// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PROCESS_CHILD_BUDGET_H_
#define BROOD_SERVER_PROCESS_CHILD_BUDGET_H_

#include <cstddef>

#include "brood/server/options.h"

namespace brood::server {

// Returns the most children that a server with `options` has at a time: those
// of connections, those that its strategy creates ahead of them, and the
// programs of upgrades. What keeps a record of each is made for so many, and
// allocates nothing in the loop.
//
// Example:
//   auto reaper = proc::Reaper::Create(ownership, MostChildren(options));
size_t MostChildren(const Options& options);

}  // namespace brood::server

#endif  // BROOD_SERVER_PROCESS_CHILD_BUDGET_H_
