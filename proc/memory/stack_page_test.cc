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
// The size of the frames above the body: a sanitizer puts borders around
// variables.
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
constexpr uintptr_t kTaken = 1536;
#else
constexpr uintptr_t kTaken = 512;
#endif

// Returns how much of its page is left below a frame of `body`, if
// OnOwnStackPage() is called at this depth of the stack.
uintptr_t LeftBelow(size_t offset) {
  auto* const elsewhere = static_cast<volatile char*>(alloca(offset + 1));
  elsewhere[0] = 0;
  uintptr_t left = 0;
  OnOwnStackPage([&left] {
    left = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) % kPageSize;
  });
  return left;
}

TEST(StackPageTest, BodyHasAlmostAWholePageAtAnyDepth) {
  for (size_t offset = 0; offset < kPageSize; offset += 64) {
    EXPECT_GT(LeftBelow(offset), kPageSize - kTaken) << offset;
  }
}

#ifndef ABSL_HAVE_ADDRESS_SANITIZER
// Leaves a pattern on the stack. Returns its address.
__attribute__((noinline)) uintptr_t LeavePattern(size_t size) {
  auto* const left = static_cast<volatile char*>(alloca(size));
  for (size_t i = 0; i < size; ++i) left[i] = 0x5a;
  return reinterpret_cast<uintptr_t>(left);
}

// Counts the bytes that are left of the pattern, from `begin` to the end of its
// page or for `size` bytes. No other call may come in between, because it would
// overwrite the pattern.
size_t CountPattern(uintptr_t begin, size_t size) {
  size_t count = 0;
  for (size_t i = 0; i < size; ++i) {
    if (reinterpret_cast<const volatile char*>(begin)[i] == 0x5a) ++count;
  }
  return count;
}

TEST(StackPageTest, OverwritesStackOfEarlierCalls) {
  constexpr size_t kSize = 3000;
  const uintptr_t begin = LeavePattern(kSize);
  WipeStack(kSize + 512);
  EXPECT_LT(CountPattern(begin, kSize), 8u);
}

TEST(StackPageTest, OverwritesStackOfEarlierCallsToTheEndOfThePage) {
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
