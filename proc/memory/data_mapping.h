// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_MEMORY_DATA_MAPPING_H_
#define BROOD_PROC_MEMORY_DATA_MAPPING_H_

#include "absl/status/status.h"

namespace brood::proc {

// Moves the variables of this program to one mapping, which makes children
// cheaper.
//
// The variables of a program are in two mappings: those with an initial value
// are a part of its file, and the others are empty memory. A fork copies each
// mapping, and the exit of the child removes it, whatever its size
// (docs/decisions/fork_cost.md). Addresses and values stay the same.
//
// For a process that will fork often. Must be called early in main(), while no
// other thread runs. A second call does the same again. Leaves a program with
// more than 2 MiB of variables as it is: to copy them costs more than the
// mapping.
//
// Errors: FailedPrecondition if the process has, or had, another thread;
// otherwise the errno of the call that failed, such as no memory. The variables
// then stay where they were.
//
// Example:
//   JoinDataMappings().IgnoreError();  // only slower if it fails
absl::Status JoinDataMappings();

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_DATA_MAPPING_H_
