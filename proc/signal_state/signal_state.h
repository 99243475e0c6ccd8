// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_SIGNAL_STATE_SIGNAL_STATE_H_
#define BROOD_PROC_SIGNAL_STATE_SIGNAL_STATE_H_

#include <vector>

namespace brood::proc {

// Functions that look at the signals of this process, and change them.
//
// They include the two signals of the C library itself (32 and 33), which are
// inherited like the others from a parent that ignores every signal, as a
// sandbox does, and which its own calls refuse. They write to errno only if a
// call fails.
//
// Process: any. Errors: none; see each function.
//
// Example:
//   for (const int signal : IgnoredSignals()) SetAction(signal, SIG_DFL);

// Returns whether this process ignores `signal`; false if that is not known.
bool IsIgnored(int signal);

// Returns the signals that this process ignores, in ascending order, without
// those of the C library: no program can want them ignored.
std::vector<int> IgnoredSignals();

// Returns whether this process blocks any signal; true if that is not known.
bool BlocksAnySignal();

// Sets the action of `signal` to `action`, SIG_DFL or SIG_IGN. The kernel
// refuses that for SIGKILL and SIGSTOP, which is no error here.
void SetAction(int signal, void (*action)(int));

}  // namespace brood::proc

#endif  // BROOD_PROC_SIGNAL_STATE_SIGNAL_STATE_H_
