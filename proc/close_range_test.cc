// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/close_range.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "absl/functional/function_ref.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr unsigned kFirst = 500;
constexpr unsigned kCount = 6;
constexpr int kAll = 0b111111;

// The way in which this machine can close descriptors.
enum class Machine {
  kWithTheCall,     // close_range, as on Linux since 5.9
  kWithoutTheCall,  // some containers forbid it
  kWithoutAList,    // and /proc is not mounted
};

class CloseRangeTest : public ::brood::testing::LeakCheck,
                       public ::testing::WithParamInterface<Machine> {
 protected:
  // Takes from this process the calls that the machine does not have.
  static void BecomeMachine() {
    if (GetParam() == Machine::kWithTheCall) return;
    std::vector<int> refused = {SYS_close_range};
    if (GetParam() == Machine::kWithoutAList) {
      refused.push_back(SYS_getdents64);
    }
    ::brood::testing::RefuseCalls(refused, ENOSYS);
  }

  // Runs `body` in a child in which the descriptors kFirst to kFirst + kCount -
  // 1 are open. Returns which of them are open afterwards: a bit for each, 1
  // for the first.
  static int OpenAfter(absl::FunctionRef<void()> body) {
    const pid_t child = fork();
    if (child == 0) {
      if (GetParam() == Machine::kWithoutAList) {
        // Closes numbers one by one up to the limit, which may be a million.
        const rlimit few = {kFirst + kCount, kFirst + kCount};
        if (setrlimit(RLIMIT_NOFILE, &few) < 0) std::abort();
      }
      BecomeMachine();
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

TEST_P(CloseRangeTest, ClosesFirstLastAndAllBetween) {
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

TEST_P(CloseRangeTest, ClosesUpToTheHighestDescriptor) {
  EXPECT_EQ(OpenAfter([] { CloseRange(kFirst + 4, ~0U); }), 0b001111);
}

// Most of the numbers are free.
TEST_P(CloseRangeTest, ClosesFewOpenDescriptorsAmongManyNumbers) {
  EXPECT_EQ(OpenAfter([] { CloseRange(100, kFirst + 2); }), 0b111000);
}

TEST_P(CloseRangeTest, ClosesAllIfNoDescriptorIsFree) {
  EXPECT_EQ(OpenAfter([] {
              const rlimit few = {kFirst + kCount, kFirst + kCount};
              if (setrlimit(RLIMIT_NOFILE, &few) < 0) std::abort();
              while (dup(STDERR_FILENO) >= 0) {
              }
              CloseRange(100, ~0U);
            }),
            0);
}

// The number of calls, and so the time, depends on the open descriptors and not
// on the limit, which may be 2^30 in a container.
TEST_P(CloseRangeTest, TakesNoTimeForFreeNumbers) {
  if (GetParam() == Machine::kWithoutAList) {
    GTEST_SKIP() << "here each number up to the limit is tried";
  }
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit highest = {limit.rlim_max, limit.rlim_max};
  if (highest.rlim_cur < 20000 || setrlimit(RLIMIT_NOFILE, &highest) < 0) {
    GTEST_SKIP() << "the limit is too low for this test";
  }
  EXPECT_EQ(OpenAfter([] {
              timespec before, after;
              clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
              CloseRange(100, 1 << 20);
              CloseRange(100, ~0U);
              clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
              const int64_t used =
                  (after.tv_sec - before.tv_sec) * 1'000'000'000 +
                  after.tv_nsec - before.tv_nsec;
              // 0.06 ms; each of 20 000 numbers takes 4.5 ms and more.
              if (used > 2'000'000) std::abort();
            }),
            0);
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

// Closing one by one finds only the numbers below the limit.
TEST_P(CloseRangeTest, ClosesDescriptorsAboveALoweredLimit) {
  if (GetParam() == Machine::kWithoutAList) {
    GTEST_SKIP() << "here no number above the limit is tried";
  }
  EXPECT_EQ(OpenAfter([] {
              const rlimit few = {kFirst + 1, kFirst + 1};
              if (setrlimit(RLIMIT_NOFILE, &few) < 0) std::abort();
              CloseRange(100, ~0U);
            }),
            0);
}

TEST_P(CloseRangeTest, ClosesDescriptorsAboveALoweredLimitIfNoneIsFree) {
  if (GetParam() == Machine::kWithoutAList) {
    GTEST_SKIP() << "here no number above the limit is tried";
  }
  EXPECT_EQ(OpenAfter([] {
              const rlimit few = {kFirst + 1, kFirst + 1};
              if (setrlimit(RLIMIT_NOFILE, &few) < 0) std::abort();
              while (dup(STDERR_FILENO) >= 0) {
              }
              CloseRange(100, ~0U);
            }),
            0);
}

INSTANTIATE_TEST_SUITE_P(With, CloseRangeTest,
                         ::testing::Values(Machine::kWithTheCall,
                                           Machine::kWithoutTheCall,
                                           Machine::kWithoutAList),
                         [](const auto& info) {
                           return info.param == Machine::kWithTheCall
                                      ? "TheCall"
                                  : info.param == Machine::kWithoutTheCall
                                      ? "NoSuchCall"
                                      : "NeitherCallNorList";
                         });

}  // namespace
}  // namespace brood::proc
