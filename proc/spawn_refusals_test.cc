// SPDX-License-Identifier: Apache-2.0

#include <semaphore.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "brood/proc/spawn.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/refuse_calls.h"
#include "brood/testing/support/spawner_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::RefuseCalls;
using ::brood::testing::SpawnerTest;
using ::brood::testing::StatusIs;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;

INSTANTIATE_TEST_SUITE_P(WithAndWithoutClone3, SpawnerTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Clone3" : "Clone";
                         });

TEST_P(SpawnerTest, RefusesToSpawnUntilThreadsAreJoined) {
  Apart([] {
    CloneSpawner spawner = Prepared();
    sem_t gate;
    sem_init(&gate, 0, 0);
    std::thread thread([&] { TEMP_FAILURE_RETRY(sem_wait(&gate)); });
    EXPECT_THAT(spawner.Prepare(),
                StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(spawner.Spawn([] { return 0; }),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         HasSubstr("2 threads")));
    sem_post(&gate);
    thread.join();
    EXPECT_PRED1(ExitedWithCode(0), Run(spawner, [] { return 0; }));
  });
}

// The kernel lists a thread for a moment after it was joined.
TEST_P(SpawnerTest, IgnoresThreadsThatWereJoined) {
  Apart([] {
    CloneSpawner spawner = Prepared();
    for (int i = 0; i < 200; ++i) {
      std::thread([] {}).join();
      ASSERT_THAT(spawner.Prepare(), IsOk());
    }
  });
}

TEST_P(SpawnerTest, ReturnsTheErrorOfTheKernel) {
  const std::pair<int, absl::StatusCode> kRefusals[] = {
      {EAGAIN, absl::StatusCode::kUnavailable},
      {ENOMEM, absl::StatusCode::kResourceExhausted},
  };
  for (const auto& [error, code] : kRefusals) {
    Apart([error = error, code = code] {
      const CloneSpawner spawner = Prepared();
      RefuseCalls({SYS_clone3, SYS_clone}, error);
      EXPECT_THAT(spawner.Spawn([] { return 0; }),
                  StatusIs(code, HasSubstr("clone")));
    });
  }
}

TEST_P(SpawnerTest, ReturnsErrorAtTheProcessLimit) {
  constexpr uid_t kNobody = 65534;
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  Apart([] {
    const CloneSpawner spawner = Prepared();
    const rlimit none = {0, 0};
    ASSERT_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
    // The user namespace of a sandbox may have no user but root, which has no
    // limit; there the test above covers the error.
    if (setresuid(kNobody, kNobody, kNobody) != 0) return;
    EXPECT_THAT(spawner.Spawn([] { return 0; }),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("clone")));
  });
}

}  // namespace
}  // namespace brood::proc
