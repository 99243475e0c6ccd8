// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_HARDENING_STACK_CANARY_H_
#define BROOD_PROC_HARDENING_STACK_CANARY_H_

#include "absl/status/status.h"

// Marks a function in which the compiler places no stack canary: one that is
// entered with one canary and left with another would be ended at its return.
#if defined(__has_attribute)
#if __has_attribute(no_stack_protector)
#define BROOD_NO_STACK_PROTECTOR __attribute__((no_stack_protector))
#endif
#endif
#ifndef BROOD_NO_STACK_PROTECTOR
#define BROOD_NO_STACK_PROTECTOR
#endif

namespace brood::proc {

// Gives the calling thread a stack canary of its own, drawn from getrandom.
//
// A child of a fork has the canary of its parent. So have all children of a
// server, and an attacker whose request overflows a buffer can find it out byte
// by byte: in each child that ends at a wrong byte, the next guess is free.
// With a canary that is drawn in the child, a guess says nothing about the next
// child.
//
// Called in a child, in a function that is marked BROOD_NO_STACK_PROTECTOR and
// never returns, and so does no function that was entered before. Functions
// that are called from then on have the new canary, and so do threads that are
// created from then on. The low byte of the canary stays zero, as the C library
// has it, and the guard of its pointers stays as it is. If getrandom is
// refused, the canary stays as well; see CheckStackCanary().
//
// Has an effect on x86-64 only. On other machines the canary is a variable in
// memory that is read-only once a program runs, and children have that of their
// parent.
BROOD_NO_STACK_PROTECTOR void RenewStackCanary();

// Returns OK if RenewStackCanary() can draw a canary in this process;
// Unimplemented on a machine where it has no effect; otherwise the error of
// getrandom.
absl::Status CheckStackCanary();

}  // namespace brood::proc

#endif  // BROOD_PROC_HARDENING_STACK_CANARY_H_
