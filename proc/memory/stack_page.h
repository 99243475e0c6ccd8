// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_MEMORY_STACK_PAGE_H_
#define BROOD_PROC_MEMORY_STACK_PAGE_H_

#include <cstddef>

#include "absl/functional/function_ref.h"

namespace brood::proc {

// Runs `body`, a loop that forks, with its stack frames at the top of a page.
//
// A page of the stack that a child writes to is copied first, and so it is in
// the parent after each fork. The frames of a loop and of the children that it
// forks take less than a page. Whether they lie in one page or across two would
// be chance, and costs up to two page faults for each child; the figures are in
// docs/decisions/fork_cost.md.
//
// Runs in the process that forks. No errors: a body with more than a page of
// frames runs as it would without this function.
//
// Example:
//   OnOwnStackPage([&] {
//     while (Turn()) {
//     }
//   });
void OnOwnStackPage(absl::FunctionRef<void()> body);

// Overwrites what calls that have returned have left on the stack of this
// thread, below the frame of the caller: to the end of the page, so that a page
// which a fork shares is not touched. A child that is forked next gets none of
// it. Called by a loop that forks, after the last call that has seen the
// address of a client.
void WipeStackPage();

// Does so for the `size` bytes below the frame of the caller.
void WipeStack(size_t size);

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_STACK_PAGE_H_
