// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_CLOSE_RANGE_H_
#define BROOD_PROC_CLOSE_RANGE_H_

namespace brood::proc {

// Closes every open descriptor from `first` to `last`, both included; ~0U
// stands for the highest one.
//
// Uses close_range (Linux 5.9). Where that is not available, closes the
// descriptors that /proc/self/fd lists, so that the time depends on how many
// descriptors are open and not on the limit. If /proc is not available either,
// tries each number up to `last` or the soft limit of descriptors, whichever is
// lower: a descriptor above a limit that was lowered since stays open.
//
// Called in a child. Allocates nothing. Reports no errors.
//
// Example:
//   CloseRange(7, ~0U);  // all above 6
void CloseRange(unsigned first, unsigned last);

// Makes execve() close every descriptor from `first` on; until then they stay
// open.
void CloseRangeOnExec(unsigned first);

}  // namespace brood::proc

#endif  // BROOD_PROC_CLOSE_RANGE_H_
