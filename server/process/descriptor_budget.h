// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PROCESS_DESCRIPTOR_BUDGET_H_
#define BROOD_SERVER_PROCESS_DESCRIPTOR_BUDGET_H_

#include <cstddef>
#include <string>

#include "brood/server/options.h"

namespace brood::server {

// DescriptorBudget is how many descriptors the process of a server needs when
// it serves as many connections as are allowed.
//
// A value. It is an upper bound: with this limit, a server always finds a free
// descriptor. The strategies fork and zygote need the same number for any cap,
// because the parent closes each connection as soon as it has a process. No
// errors.
//
// Example:
//   const DescriptorBudget budget = DescriptorBudget::For(options);
//   if (limit < budget.total()) Warn(budget.ToString());
struct DescriptorBudget {
  // Returns the number for a server with `options`, in a process that has
  // `open` descriptors without it.
  static DescriptorBudget For(const Options& options, size_t open);

  // Returns the sum of the parts.
  size_t total() const { return open + workers + server; }
  // Returns the parts: "200 for workers, 31 for the server, 3 open before".
  std::string ToString() const;

  // The descriptors that are open without the server.
  size_t open = 0;
  // The descriptors for processes that are forked ahead: two for each.
  size_t workers = 0;
  // All other descriptors: listeners, queues, the log, an upgrade, connections
  // that wait for a process.
  size_t server = 0;
};

// Returns how many descriptors this process has open; three if /proc cannot be
// read.
size_t CountOpenDescriptors();

}  // namespace brood::server

#endif  // BROOD_SERVER_PROCESS_DESCRIPTOR_BUDGET_H_
