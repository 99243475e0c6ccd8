// OnOwnStackPage: runs a loop that forks where it costs its children least.
//
// A page of the stack that a child writes to is first copied, and so it is with
// the parent after each fork. The frames of a loop and of the children it makes
// take less than a page; whether they lie in one page or across two is chance,
// and was worth up to two page faults for each child. This puts them at the top
// of a page.
//
// In the parent. Errors: none; a body with more than a page of frames runs as
// it would have.
//
// Example:
//   OnOwnStackPage([&] {
//     while (Turn()) {
//     }
//   });

#ifndef BROOD_PROC_STACK_PAGE_H_
#define BROOD_PROC_STACK_PAGE_H_

#include "absl/functional/function_ref.h"

namespace brood::proc {

void OnOwnStackPage(absl::FunctionRef<void()> body);

}  // namespace brood::proc

#endif  // BROOD_PROC_STACK_PAGE_H_
