// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/stack_page.h"

#include <alloca.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace brood::proc {
namespace {

constexpr uintptr_t kPageSize = 4096;

}  // namespace

__attribute__((noinline)) void OnOwnStackPage(absl::FunctionRef<void()> body) {
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  // The rest of this page and a little more, so that the frames below begin in
  // the next page. Written to, because the compiler would remove it otherwise.
  auto* const rest = static_cast<volatile char*>(alloca(here % kPageSize + 1));
  rest[0] = 0;
  body();
}

// Not inlined, so that its frame is where the frames of other calls were.
__attribute__((noinline)) void WipeStack(size_t size) {
  auto* const left = static_cast<char*>(alloca(size));
  std::memset(left, 0, size);
  // Without this the compiler would remove the writes.
  asm volatile("" : : "r"(left) : "memory");
}

#if defined(__x86_64__)
// Has no stack frame, so that every byte below the return address is zero.
__attribute__((naked, noinline)) void WipeStackPage() {
  asm("mov %rsp, %rdi\n\t"
      "and $-4096, %rdi\n\t"
      "mov %rsp, %rcx\n\t"
      "sub %rdi, %rcx\n\t"
      "xor %eax, %eax\n\t"
      "rep stosb\n\t"
      "ret");
}
#else
__attribute__((noinline)) void WipeStackPage() {
  // The size of the frames of these functions themselves.
  constexpr uintptr_t kOwnFrames = 192;
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  const uintptr_t left = here % kPageSize;
  if (left > kOwnFrames) WipeStack(left - kOwnFrames);
}
#endif

}  // namespace brood::proc
