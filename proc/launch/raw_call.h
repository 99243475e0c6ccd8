// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_LAUNCH_RAW_CALL_H_
#define BROOD_PROC_LAUNCH_RAW_CALL_H_

#include <linux/sched.h>
#include <sys/syscall.h>

#include <cerrno>

namespace brood::proc {

// System calls that change no memory of this process except their results: they
// do not write to errno.
//
// A process that shares the memory of its parent makes no other calls: it has
// the errno of the thread that created it, which that thread uses meanwhile.
//
// Errors: the negative errno. Calls of the C library can be made to fail by
// //testing/syscalls, and these cannot; see launcher_errors_test.cc.
//
// Example:
//   if (RawCall(SYS_chdir, AsArgument("/")) < 0) return;

#if defined(__x86_64__)

// Whether this file knows how to make the calls on this kind of processor.
constexpr bool kHasRawCalls = true;

// Makes the system call `number`.
inline long RawCall(long number, long first = 0, long second = 0,
                    long third = 0, long fourth = 0) {
  long result = 0;
  register long r10 asm("r10") = fourth;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(first), "S"(second), "d"(third), "r"(r10)
               : "rcx", "r11", "memory");
  return result;
}

// Creates a process by clone3, which shares the memory of this one and begins
// with `body(argument)` on the stack of `arguments`. `body` must not return.
// Returns the pid.
inline long CloneOntoStack(const clone_args& arguments, void (*body)(void*),
                           void* argument) {
  long result = SYS_clone3;
  register void (*r8)(void*) asm("r8") = body;
  register void* r9 asm("r9") = argument;
  // The new process has the registers of this one, except for the result and
  // the stack. A zero in rbp ends the stack for debuggers.
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r9, %%rdi\n\t"
      "call *%%r8\n\t"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(&arguments), "S"(sizeof(arguments)), "r"(r8), "r"(r9)
      : "rcx", "r11", "memory");
  return result;
}

#else

constexpr bool kHasRawCalls = false;

inline long RawCall(long /*number*/, long /*first*/ = 0, long /*second*/ = 0,
                    long /*third*/ = 0, long /*fourth*/ = 0) {
  return -ENOSYS;
}

inline long CloneOntoStack(const clone_args& /*arguments*/,
                           void (* /*body*/)(void*), void* /*argument*/) {
  return -ENOSYS;
}

#endif

// Returns `pointer` as an argument of RawCall().
inline long AsArgument(const void* pointer) {
  return reinterpret_cast<long>(pointer);
}

}  // namespace brood::proc

#endif  // BROOD_PROC_LAUNCH_RAW_CALL_H_
