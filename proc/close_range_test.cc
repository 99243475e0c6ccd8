// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/close_range.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/functional/function_ref.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr unsigned kFirst = 500;
constexpr unsigned kCount = 6;
constexpr int kAll = 0b111111;

// Its parameter tells whether there is a close_range, as on Linux since 5.9, or
// it may not be called, as in some containers.
class CloseRangeTest : public ::brood::testing::LeakCheck,
                       public ::testing::WithParamInterface<bool> {
 protected:
  // Returns which of the descriptors kFirst to kFirst + kCount - 1 are open
  // after `body`, in a child in which all of them were open: a bit for each, 1
  // for the first.
  static int OpenAfter(absl::FunctionRef<void()> body) {
    const pid_t child = fork();
    if (child == 0) {
      if (!GetParam()) {
        // One by one, up to the limit: which may be a million.
        const rlimit few = {kFirst + kCount, kFirst + kCount};
        if (setrlimit(RLIMIT_NOFILE, &few) < 0) std::abort();
        ::brood::testing::RefuseCalls({SYS_close_range}, ENOSYS);
      }
      for (unsigned i = 0; i < kCount; ++i) {
        dup2(STDERR_FILENO, static_cast<int>(kFirst + i));
      }
      body();
      int open = 0;
      for (unsigned i = 0; i < kCount; ++i) {
        if (fcntl(static_cast<int>(kFirst + i), F_GETFD) >= 0) open |= 1 << i;
      }
      _exit(open);
    }
    int status = -1;
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
    EXPECT_TRUE(WIFEXITED(status));
    return WEXITSTATUS(status);
  }
};

TEST_P(CloseRangeTest, ClosesBothEndsAndWhatIsBetween) {
  EXPECT_EQ(OpenAfter([] {}), kAll);
  EXPECT_EQ(OpenAfter([] { CloseRange(kFirst + 1, kFirst + 3); }), 0b110001);
}

TEST_P(CloseRangeTest, ClosesOne) {
  EXPECT_EQ(OpenAfter([] { CloseRange(kFirst + 2, kFirst + 2); }), 0b111011);
}

TEST_P(CloseRangeTest, LeavesFreeNumbersFree) {
  EXPECT_EQ(OpenAfter([] {
              close(static_cast<int>(kFirst + 1));
              CloseRange(kFirst, kFirst + 2);
            }),
            0b111000);
}

TEST_P(CloseRangeTest, ClosesUpToTheHighestThereIs) {
  EXPECT_EQ(OpenAfter([] { CloseRange(kFirst + 4, ~0U); }), 0b001111);
}

INSTANTIATE_TEST_SUITE_P(With, CloseRangeTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "TheCall" : "NoSuchCall";
                         });

}  // namespace
}  // namespace brood::proc
