// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/stack_page.h"

#include <alloca.h>

#include <cstddef>
#include <cstdint>

#include "absl/base/config.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr uintptr_t kPageSize = 4096;
// What the way to the body takes: a sanitizer puts borders around variables.
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
constexpr uintptr_t kTaken = 1536;
#else
constexpr uintptr_t kTaken = 512;
#endif

// How much of its page is left below a frame of `body`, wherever on the stack
// it is called from.
uintptr_t LeftBelow(size_t offset) {
  auto* const elsewhere = static_cast<volatile char*>(alloca(offset + 1));
  elsewhere[0] = 0;
  uintptr_t left = 0;
  OnOwnStackPage([&left] {
    left = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) % kPageSize;
  });
  return left;
}

TEST(StackPageTest, ABodyHasAlmostAWholePageWhereverItIsCalled) {
  for (size_t offset = 0; offset < kPageSize; offset += 64) {
    EXPECT_GT(LeftBelow(offset), kPageSize - kTaken) << offset;
  }
}

#ifndef ABSL_HAVE_ADDRESS_SANITIZER
// Leaves a pattern on the stack. Returns where.
__attribute__((noinline)) uintptr_t LeavePattern(size_t size) {
  auto* const left = static_cast<volatile char*>(alloca(size));
  for (size_t i = 0; i < size; ++i) left[i] = 0x5a;
  return reinterpret_cast<uintptr_t>(left);
}

// Counts what is left of the pattern, from `begin` to the end of its page or
// for `size` bytes. No call between it and the pattern: it would overwrite it.
size_t CountPattern(uintptr_t begin, size_t size) {
  size_t count = 0;
  for (size_t i = 0; i < size; ++i) {
    if (reinterpret_cast<const volatile char*>(begin)[i] == 0x5a) ++count;
  }
  return count;
}

TEST(StackPageTest, WhatCallsHaveLeftIsOverwritten) {
  constexpr size_t kSize = 3000;
  const uintptr_t begin = LeavePattern(kSize);
  WipeStack(kSize + 512);
  EXPECT_LT(CountPattern(begin, kSize), 8u);
}

TEST(StackPageTest, WhatCallsHaveLeftIsOverwrittenToTheEndOfThePage) {
  OnOwnStackPage([] {
    constexpr size_t kSize = 2500;
    const uintptr_t begin = LeavePattern(kSize);
    WipeStackPage();
    EXPECT_LT(CountPattern(begin, kSize), 8u);
  });
}
#endif

}  // namespace
}  // namespace brood::proc
