// SPDX-License-Identifier: Apache-2.0

#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "absl/status/statusor.h"
#include "brood/proc/child.h"
#include "brood/proc/spawn.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/spawner_harness.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::SpawnerTest;

INSTANTIATE_TEST_SUITE_P(WithAndWithoutClone3, SpawnerTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Clone3" : "Clone";
                         });

// Expects that children of a process with the limit `own` have the limit
// `expected`, if the limit before it was raised was `before`.
void ExpectLimit(const rlimit& before, const rlimit& own,
                 const rlimit& expected) {
  ChildSettings settings;
  settings.descriptors = before;
  auto spawner = CloneSpawner::Create(SIGCHLD, std::move(settings));
  ASSERT_THAT(spawner, IsOk());
  ASSERT_THAT(spawner->Prepare(), IsOk());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &own), 0);
  absl::StatusOr<Child> child = spawner->Spawn([&] {
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur == expected.rlim_cur &&
                   limit.rlim_max == expected.rlim_max
               ? 0
               : 1;
  });
  ASSERT_THAT(child, IsOk());
  int status = -1;
  const pid_t pid = (*std::move(child)).Release();
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, __WALL)), pid);
  EXPECT_PRED1(::testing::ExitedWithCode(0), status);
  rlimit after;
  getrlimit(RLIMIT_NOFILE, &after);
  EXPECT_EQ(after.rlim_cur, own.rlim_cur) << "the parent keeps its own";
}

TEST_P(SpawnerTest, ChildGetsTheLimitBeforeItWasRaised) {
  Apart([] { ExpectLimit({64, 1000}, {1000, 1000}, {64, 1000}); });
}

// Lowered as by prlimit(1). Root could raise the limit again, and other users
// could not.
TEST_P(SpawnerTest, ChildGetsHardLimitThatWasLoweredSince) {
  Apart([] { ExpectLimit({64, 1000}, {800, 800}, {64, 800}); });
  Apart([] { ExpectLimit({64, 1000}, {50, 50}, {50, 50}); });
}

TEST_P(SpawnerTest, ChildGetsTheLimitOfItsParentWithoutSettings) {
  Apart([] {
    const rlimit own = {64, 1000};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &own), 0);
    ExpectInChild(Prepared(), [] {
      rlimit limit;
      getrlimit(RLIMIT_NOFILE, &limit);
      EXPECT_EQ(limit.rlim_cur, 64u);
    });
  });
}

}  // namespace
}  // namespace brood::proc
