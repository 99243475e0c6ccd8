// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_HARDENING_EXPOSURE_H_
#define BROOD_PROC_HARDENING_EXPOSURE_H_

#include "absl/status/status.h"

namespace brood::proc {

// Closes this process to other processes of the same user (PR_SET_DUMPABLE 0):
// they cannot read its memory, trace it or copy its descriptors, and the kernel
// writes no core file of it.
//
// Processes that are forked from then on are closed as well; a program that is
// executed is not. Signals and limits are not affected. Unless it runs as root,
// this process then cannot write to its files in /proc, such as
// /proc/self/oom_score_adj, nor read /proc/self/environ.
//
// Errors: the errno of prctl.
absl::Status CloseToOthers();

// Sets /proc/self/oom_score_adj, which the kernel adds to the badness of this
// process when memory runs out, to `adjustment`, 0 to 1000. Processes that are
// forked from then on have it too. Must be called before CloseToOthers(),
// except by root. Allocates nothing.
//
// Returns 0 or the errno of open or write: ENOENT without /proc, and EACCES in
// a process that is closed to others.
int SetOomScore(int adjustment);

// Returns /proc/self/oom_score_adj, -1000 to 1000; 0 if it cannot be read.
int OomScore();

// Returns OK if a child of this process could call SetOomScore().
absl::Status CheckOomScore();

}  // namespace brood::proc

#endif  // BROOD_PROC_HARDENING_EXPOSURE_H_
