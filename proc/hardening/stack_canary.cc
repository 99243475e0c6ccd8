// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/hardening/stack_canary.h"

#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace brood::proc {
namespace {

#if defined(__x86_64__) && defined(__LP64__)
constexpr bool kIsSupported = true;

// Draws all bytes except the low one, which is zero: it ends strings, so that a
// copied string does not overwrite the canary unnoticed. Uses the raw call,
// which never waits, whereas getrandom() may wait shortly after the machine has
// started.
BROOD_NO_STACK_PROTECTOR bool Draw(uintptr_t* canary) {
  uintptr_t drawn = 0;
  if (syscall(SYS_getrandom, &drawn, sizeof(drawn), GRND_NONBLOCK) !=
      sizeof(drawn)) {
    return false;
  }
  *canary = drawn & ~uintptr_t{0xff};
  return true;
}

// The canary lies on the page to which the kernel has written the id of the new
// thread, so that this write costs no page fault.
BROOD_NO_STACK_PROTECTOR void Set(uintptr_t canary) {
  asm volatile("movq %0, %%fs:0x28" : : "r"(canary) : "memory");
}
#else
constexpr bool kIsSupported = false;

bool Draw(uintptr_t* /*canary*/) { return false; }
void Set(uintptr_t /*canary*/) {}
#endif

}  // namespace

BROOD_NO_STACK_PROTECTOR void RenewStackCanary() {
  uintptr_t canary;
  if (Draw(&canary)) Set(canary);
}

absl::Status CheckStackCanary() {
  if (!kIsSupported) {
    return absl::UnimplementedError(
        "the canary of this machine is in read-only memory");
  }
  uintptr_t canary;
  if (Draw(&canary)) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "getrandom");
}

}  // namespace brood::proc
