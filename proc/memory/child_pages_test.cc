// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/child_pages.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using Cell = std::atomic<int>;

class ChildPagesTest : public ::brood::testing::LeakCheck {
 protected:
  static std::unique_ptr<ChildPages> Create(size_t count) {
    auto pages = ChildPages::Create(count);
    EXPECT_THAT(pages, IsOk());
    return *std::move(pages);
  }

  static Cell* CellOf(const ChildPages& pages, size_t index) {
    return static_cast<Cell*>(pages.page(index));
  }

  // Runs `body` in a child. Returns its wait status.
  static int InChild(const std::function<int()>& body) {
    const pid_t pid = fork();
    if (pid == 0) {
      // A sanitizer would report the signal, and exit.
      std::signal(SIGSEGV, SIG_DFL);
      std::signal(SIGBUS, SIG_DFL);
      _exit(body());
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
  }

  static bool EndsBySegv(const std::function<int()>& body) {
    const int status = InChild(body);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
  }
};

TEST_F(ChildPagesTest, ShowChildsWritesToTheParent) {
  const auto pages = Create(3);
  for (size_t own = 0; own < 3; ++own) {
    EXPECT_EQ(InChild([&] {
                if (!ChildPages::KeepOnly(pages->page(own)).ok()) return 1;
                *CellOf(*pages, own) = 40 + static_cast<int>(own);
                return 0;
              }),
              0);
  }
  for (size_t own = 0; own < 3; ++own) {
    EXPECT_EQ(*CellOf(*pages, own), 40 + static_cast<int>(own));
  }
}

TEST_F(ChildPagesTest, AreUnmappedInAChildThatKeepsAnother) {
  const auto pages = Create(3);
  for (size_t own = 0; own < 3; ++own) {
    for (size_t other = 0; other < 3; ++other) {
      EXPECT_EQ(EndsBySegv([&] {
                  if (!ChildPages::KeepOnly(pages->page(own)).ok()) return 1;
                  return static_cast<int>(*CellOf(*pages, other));
                }),
                own != other)
          << own << " " << other;
    }
  }
}

TEST_F(ChildPagesTest, AreUnmappedForEveryObjectOfTheProcess) {
  const auto mine = Create(2);
  const auto another = Create(1);
  EXPECT_TRUE(EndsBySegv([&] {
    if (!ChildPages::KeepOnly(mine->page(0)).ok()) return 1;
    return static_cast<int>(*CellOf(*another, 0));
  }));
  for (const auto* pages : {&mine, &another}) {
    EXPECT_TRUE(EndsBySegv([&] {
      if (!ChildPages::KeepOnly(nullptr).ok()) return 1;
      return static_cast<int>(*CellOf(**pages, 0));
    }));
  }
}

// The other objects stay in the list.
TEST_F(ChildPagesTest, CanBeDestroyedInAnyOrder) {
  auto first = Create(1);
  auto second = Create(1);
  auto third = Create(1);
  second.reset();
  first.reset();
  EXPECT_TRUE(EndsBySegv([&] {
    if (!ChildPages::KeepOnly(nullptr).ok()) return 1;
    return static_cast<int>(*CellOf(*third, 0));
  }));
}

// Tested: a longer mapping of the same memory, and a mapping of another part of
// it.
TEST_F(ChildPagesTest, CannotBeMappedAgainByAChildWhereTheKernelCanForbidIt) {
  const auto pages = Create(3);
  *CellOf(*pages, 2) = 42;
  const size_t bytes = pages->page_bytes();
  const int status = InChild([&] {
    void* const probe =
        mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (syscall(/*mseal*/ 462, probe, bytes, 0UL) != 0) return 77;
    char* const own = static_cast<char*>(pages->page(1));
    if (!ChildPages::KeepOnly(own).ok()) return 1;
    void* const longer = mremap(own, bytes, 2 * bytes, MREMAP_MAYMOVE);
    if (longer != MAP_FAILED) return 2;
    if (remap_file_pages(own, bytes, 0, 2, 0) == 0) return 3;
    return static_cast<int>(*CellOf(*pages, 1));
  });
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    GTEST_SKIP() << "this kernel has no mseal";
  }
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace brood::proc
