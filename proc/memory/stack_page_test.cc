#include "brood/proc/memory/stack_page.h"

#include <alloca.h>

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

}  // namespace
}  // namespace brood::proc
