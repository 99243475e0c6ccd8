// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/parent_only.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <memory>

#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr size_t kSize = 3 * 4096 + 1;

class ParentOnlyTest : public ::brood::testing::LeakCheck {
 protected:
  // Returns the wait status of a child that reads a byte of `memory` and exits
  // with that byte.
  static int WaitStatusOfAReader(const void* memory) {
    const pid_t pid = fork();
    if (pid == 0) _exit(*static_cast<const volatile unsigned char*>(memory));
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
  }
  // An emulator may not support leaving pages out of a fork.
  static bool CanLeaveOut() {
    void* page =
        mmap(nullptr, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const bool can = madvise(page, 1, MADV_DONTFORK) == 0;
    munmap(page, 1);
    return can;
  }
};

TEST_F(ParentOnlyTest, IsZeroedAndWritableToItsEnd) {
  auto* memory = static_cast<char*>(AllocateParentOnly(kSize));
  for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(memory[i], 0);
  std::memset(memory, 'x', kSize);
  FreeParentOnly(memory, kSize);
}

TEST_F(ParentOnlyTest, IsUnmappedInAChildFromFirstByteToLast) {
  if (!CanLeaveOut()) GTEST_SKIP() << "this kernel has no MADV_DONTFORK";
  auto* memory = static_cast<char*>(AllocateParentOnly(kSize));
  for (size_t offset : {size_t{0}, kSize / 2, kSize - 1}) {
    const int status = WaitStatusOfAReader(memory + offset);
    ASSERT_TRUE(WIFSIGNALED(status)) << offset;
    EXPECT_EQ(WTERMSIG(status), SIGSEGV);
  }
  FreeParentOnly(memory, kSize);
}

TEST_F(ParentOnlyTest, StaysUnchangedInTheParentAfterAFork) {
  auto* memory = static_cast<char*>(AllocateParentOnly(kSize));
  std::memset(memory, 'x', kSize);
  WaitStatusOfAReader(memory);
  for (size_t i = 0; i < kSize; ++i) ASSERT_EQ(memory[i], 'x');
  FreeParentOnly(memory, kSize);
}

struct Book : ParentOnly {
  int pages = 7;
};

TEST_F(ParentOnlyTest, HoldsObjectsOfItsClasses) {
  if (!CanLeaveOut()) GTEST_SKIP() << "this kernel has no MADV_DONTFORK";
  const auto book = std::make_unique<Book>();
  EXPECT_EQ(book->pages, 7);
  EXPECT_TRUE(WIFSIGNALED(WaitStatusOfAReader(book.get())));
}

TEST_F(ParentOnlyTest, HoldsElementsOfAGrowingVector) {
  if (!CanLeaveOut()) GTEST_SKIP() << "this kernel has no MADV_DONTFORK";
  ParentOnlyVector<int> numbers;
  for (int i = 0; i < 10000; ++i) numbers.push_back(i);
  for (int i = 0; i < 10000; ++i) ASSERT_EQ(numbers[static_cast<size_t>(i)], i);
  EXPECT_TRUE(WIFSIGNALED(WaitStatusOfAReader(&numbers.front())));
  EXPECT_TRUE(WIFSIGNALED(WaitStatusOfAReader(&numbers.back())));
}

// The other tests would also pass if the child died for any other reason.
TEST_F(ParentOnlyTest, TestDistinguishesOrdinaryMemory) {
  const unsigned char byte = 42;
  const int status = WaitStatusOfAReader(&byte);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

}  // namespace
}  // namespace brood::proc
