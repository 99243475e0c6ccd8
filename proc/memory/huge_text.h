// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_MEMORY_HUGE_TEXT_H_
#define BROOD_PROC_MEMORY_HUGE_TEXT_H_

#include "absl/status/status.h"

namespace brood::proc {

// Moves the code of this program to huge pages, which makes children cheaper.
//
// A child starts with empty page tables for the code: it maps the code again,
// page fault by page fault, and unmaps it when it ends. A huge page is one
// entry that fork copies, so that a child has no page faults for code. For a
// child that lives for a tenth of a millisecond, that is a sixth of the work
// (docs/decisions/fork_cost.md).
//
// Must be called once, early in main(), before any child exists, and while no
// other thread runs. The program must be linked so that its code begins at the
// boundary of a huge page and shares it with nothing else:
//
//   -Wl,-z,noseparate-code,-z,max-page-size=0x200000
//
// Costs 2 MiB of memory for each 2 MiB of code, once for all children; and
// tools that find symbols by mapped file (perf) see an anonymous mapping. A
// huge page that would have nothing but tables for exceptions stays as it was;
// exception_tables.S moves these tables elsewhere.
//
// Errors: FailedPrecondition if the program is not linked in this way;
// otherwise the errno of the call that failed (no huge page is available, Linux
// before 6.1, a policy against executable memory). The code then stays where it
// was.
//
// Example:
//   MoveTextToHugePages().IgnoreError();  // only slower if it fails
absl::Status MoveTextToHugePages();

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_HUGE_TEXT_H_
