// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/stack_page.h"

#include <alloca.h>

#include <cstddef>
#include <cstdint>

namespace brood::proc {
namespace {

constexpr uintptr_t kPageSize = 4096;

}  // namespace

__attribute__((noinline)) void OnOwnStackPage(absl::FunctionRef<void()> body) {
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  // What is left of this page, and a little: the frames below begin in the next
  // one. Written to, or the compiler would leave it out.
  auto* const rest = static_cast<volatile char*>(alloca(here % kPageSize + 1));
  rest[0] = 0;
  body();
}

}  // namespace brood::proc
