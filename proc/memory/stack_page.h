// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_MEMORY_STACK_PAGE_H_
#define BROOD_PROC_MEMORY_STACK_PAGE_H_

#include <cstddef>

#include "absl/functional/function_ref.h"

namespace brood::proc {

// Runs `body`, a loop that forks, with its stack frames at the top of a page.
//
// After a fork, the first write to a page of the stack copies the page, in the
// child and in the parent. The frames of a loop and of the children that it
// forks take less than a page. Without this function it is left to chance
// whether they lie in one page or in two, which costs up to two page faults for
// each child; the figures are in docs/decisions/fork_cost.md.
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

// Overwrites the bytes that earlier calls have left on the stack of this thread
// below the frame of the caller, so that the next child does not get them.
// Stops at the end of the page: other pages may be shared with children, and
// writing would copy them. Called by a loop that forks, after the last call
// that used the address of a client.
void WipeStackPage();

// Does the same for the `size` bytes below the frame of the caller.
void WipeStack(size_t size);

}  // namespace brood::proc

#endif  // BROOD_PROC_MEMORY_STACK_PAGE_H_
