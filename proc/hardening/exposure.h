// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_HARDENING_EXPOSURE_H_
#define BROOD_PROC_HARDENING_EXPOSURE_H_

#include "absl/status/status.h"

namespace brood::proc {

// Closes this process to others of the same user: none of them can read its
// memory, trace it or copy its descriptors, and the kernel writes no core file
// of it (PR_SET_DUMPABLE 0).
//
// Processes that are forked from then on are closed as well; a program that is
// executed is not. Signals and limits are not affected. As another user than
// root, this process then cannot write to its files in /proc, such as
// /proc/self/oom_score_adj, nor read /proc/self/environ.
//
// Errors: that of prctl.
absl::Status CloseToOthers();

// Sets how willingly the kernel kills this process when memory runs out:
// `adjustment` is 0 to 1000, and processes that are forked from then on have it
// too. Must be called before CloseToOthers(), unless by root. Allocates
// nothing.
//
// Returns the errno of open or write, or 0. Without /proc it is ENOENT, and for
// a process that is closed to others EACCES.
int SetOomScore(int adjustment);

// Returns what the kernel adds to the badness of this process when memory runs
// out: -1000 to 1000; 0 if it does not tell.
int OomScore();

// Returns OK if a child of this process could call SetOomScore().
absl::Status CheckOomScore();

}  // namespace brood::proc

#endif  // BROOD_PROC_HARDENING_EXPOSURE_H_
