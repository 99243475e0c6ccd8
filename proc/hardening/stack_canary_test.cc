// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/hardening/stack_canary.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <set>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::RefuseCalls;
using ::brood::testing::StatusIs;

class StackCanaryTest : public ::brood::testing::LeakCheck {
 protected:
  void SetUp() override {
    if (absl::IsUnimplemented(CheckStackCanary())) {
      GTEST_SKIP() << "the canary of this machine cannot be renewed";
    }
  }
};

// The guards of the C library, at the beginning of the data of a thread.
struct Guards {
  uintptr_t canary = 0;
  uintptr_t pointers = 0;
};

BROOD_NO_STACK_PROTECTOR Guards ReadGuards() {
  Guards guards;
#if defined(__x86_64__) && defined(__LP64__)
  asm volatile("movq %%fs:0x28, %0" : "=r"(guards.canary));
  asm volatile("movq %%fs:0x30, %0" : "=r"(guards.pointers));
#endif
  return guards;
}

// Has a buffer, and so a canary on the stack.
__attribute__((noinline)) size_t CopyText(const char* text) {
  char copy[64];
  std::strncpy(copy, text, sizeof(copy) - 1);
  copy[sizeof(copy) - 1] = '\0';
  return std::strlen(copy);
}

// Runs in the child, and never returns.
[[noreturn]] BROOD_NO_STACK_PROTECTOR __attribute__((noinline)) void
RenewAndTell(int fd) {
  RenewStackCanary();
  const Guards guards = ReadGuards();
  const bool written = write(fd, &guards, sizeof(guards)) == sizeof(guards);
  _exit(written && CopyText("a function with a canary") == 24 ? 0 : 1);
}

// Returns the guards of a child after it has renewed its canary.
Guards GuardsOfChild(absl::FunctionRef<void()> before = [] {}) {
  int fds[2];
  EXPECT_EQ(pipe(fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    before();
    RenewAndTell(fds[1]);
  }
  close(fds[1]);
  Guards guards;
  EXPECT_EQ(TEMP_FAILURE_RETRY(read(fds[0], &guards, sizeof(guards))),
            static_cast<ssize_t>(sizeof(guards)));
  close(fds[0]);
  int status = -1;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << "a function that was entered after the change was ended";
  return guards;
}

TEST_F(StackCanaryTest, DiffersInEachChild) {
  constexpr int kChildren = 20;
  std::set<uintptr_t> canaries = {ReadGuards().canary};
  for (int i = 0; i < kChildren; ++i) {
    canaries.insert(GuardsOfChild().canary);
  }
  EXPECT_EQ(canaries.size(), size_t{kChildren + 1});
}

TEST_F(StackCanaryTest, KeepsItsZeroByteAndTheGuardOfPointers) {
  const Guards child = GuardsOfChild();
  EXPECT_EQ(child.canary & 0xff, 0u);
  EXPECT_EQ(child.pointers, ReadGuards().pointers);
}

TEST_F(StackCanaryTest, StaysUnchangedWithoutRandomNumbers) {
  for (const int error : {ENOSYS, EPERM, EAGAIN}) {
    EXPECT_EQ(
        GuardsOfChild([error] { RefuseCalls({SYS_getrandom}, error); }).canary,
        ReadGuards().canary)
        << error;
  }
}

TEST_F(StackCanaryTest, CheckReportsRefusedGetrandom) {
  EXPECT_THAT(CheckStackCanary(), IsOk());
  const pid_t child = fork();
  if (child == 0) {
    RefuseCalls({SYS_getrandom}, EPERM);
    _exit(absl::IsPermissionDenied(CheckStackCanary()) ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace brood::proc
