// SPDX-License-Identifier: Apache-2.0

// Huge text: this program's code on huge pages, for the children's sake.
//
// A child begins with empty page tables for the code: it maps it again, fault
// by fault, and gives it all back when it ends. A huge page is one entry that
// fork copies, so a child never faults on code. For a child that lives for a
// tenth of a millisecond that is a sixth of all the work there is
// (docs/decisions/fork_cost.md).
//
// To be called once, early in main(), before any child; in a process that has
// threads they must not run meanwhile. The program must be linked so that its
// code begins at a huge page's boundary and has the page for itself:
//
//   -Wl,-z,noseparate-code,-z,max-page-size=0x200000
//
// What it costs: 2 MiB of memory for each 2 MiB of code, once for all children;
// and tools that look for symbols by mapped file (perf) see an anonymous
// mapping.
//
// Errors: FailedPrecondition if the program is not linked so; otherwise the
// errno of the call that failed (no huge page to be had, Linux before 6.1, a
// policy against executable memory). The program then runs on as it was.
//
// Example:
//   MoveTextToHugePages().IgnoreError();  // slower without, that is all

#ifndef BROOD_PROC_MEMORY_HUGE_TEXT_H_
#define BROOD_PROC_MEMORY_HUGE_TEXT_H_

#include "absl/status/status.h"

namespace brood::proc {

absl::Status MoveTextToHugePages();

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_HUGE_TEXT_H_
