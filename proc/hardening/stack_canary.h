// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_HARDENING_STACK_CANARY_H_
#define BROOD_PROC_HARDENING_STACK_CANARY_H_

#include "absl/status/status.h"

// Marks a function in which the compiler places no stack canary. A function
// with one would end the program at its return if the canary has changed since
// it was entered.
#if defined(__has_attribute)
#if __has_attribute(no_stack_protector)
#define BROOD_NO_STACK_PROTECTOR __attribute__((no_stack_protector))
#endif
#endif
#ifndef BROOD_NO_STACK_PROTECTOR
#define BROOD_NO_STACK_PROTECTOR
#endif

namespace brood::proc {

// Sets the stack canary of the calling thread to a new value, drawn from
// getrandom.
//
// A forked child has the canary of its parent, and so all children of a server
// have the same. An attacker whose request overflows a buffer can find it out
// byte by byte, with one child for each guess. With a canary that is drawn in
// the child, a guess reveals nothing about the next child.
//
// Must be called in a child, in a function that is marked
// BROOD_NO_STACK_PROTECTOR and never returns; nor may any function return that
// was entered before. Functions that are called, and threads that are created,
// from then on have the new canary. The low byte of the canary stays zero, as
// in the C library, and its guard of pointers does not change. If getrandom is
// refused, the canary does not change either; see CheckStackCanary().
//
// Has an effect on x86-64 only. On other machines the canary is a variable in
// memory that is read-only once a program runs, and children keep that of their
// parent.
BROOD_NO_STACK_PROTECTOR void RenewStackCanary();

// Returns OK if RenewStackCanary() can draw a canary in this process;
// Unimplemented on a machine where it has no effect; otherwise the error of
// getrandom.
absl::Status CheckStackCanary();

}  // namespace brood::proc

#endif  // BROOD_PROC_HARDENING_STACK_CANARY_H_
