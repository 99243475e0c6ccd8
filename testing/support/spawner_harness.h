// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_SPAWNER_HARNESS_H_
#define BROOD_TESTING_SUPPORT_SPAWNER_HARNESS_H_

#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "brood/proc/child.h"
#include "brood/proc/spawn.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {

// SpawnerTest is the fixture of the tests of proc::CloneSpawner. Its parameter
// is whether clone3 works, as on Linux since 5.5, or is refused, as in some
// containers.
//
// Example:
//   TEST_P(SpawnerTest, Spawns) {
//     Apart([] {
//       const proc::CloneSpawner spawner = Prepared();
//       EXPECT_PRED1(ExitedWithCode(7), Run(spawner, [] { return 7; }));
//     });
//   }
class SpawnerTest : public LeakCheck,
                    public ::testing::WithParamInterface<bool> {
 protected:
  // Waits for the end of the child `pid`, and returns its wait status.
  static int WaitFor(pid_t pid) {
    int status = -1;
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, __WALL)), pid);
    return status;
  }
  // Runs `test` in another process, which is the parent of the processes that
  // it spawns, so that signals, limits and threads of the test process stay as
  // they are. Fails if an expectation fails there.
  static void Apart(absl::FunctionRef<void()> test) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      if (!GetParam()) RefuseCalls({SYS_clone3}, ENOSYS);
      test();
      std::fflush(nullptr);
      _exit(HasFailure() ? 1 : 0);
    }
    EXPECT_PRED1(::testing::ExitedWithCode(0), WaitFor(pid));
  }
  // Returns a spawner on which Prepare() was called.
  static proc::CloneSpawner Prepared(int exit_signal = SIGCHLD) {
    proc::CloneSpawner spawner = *proc::CloneSpawner::Create(exit_signal);
    EXPECT_THAT(spawner.Prepare(), IsOk());
    return spawner;
  }
  // Returns the wait status of a child that runs `body`.
  static int Run(const proc::CloneSpawner& spawner,
                 absl::FunctionRef<int()> body) {
    absl::StatusOr<proc::Child> child = spawner.Spawn(body);
    EXPECT_THAT(child, IsOk());
    return child.ok() ? WaitFor((*std::move(child)).Release()) : -1;
  }
  // Runs `expectations` in a child, and fails if one of them fails.
  static void ExpectInChild(const proc::CloneSpawner& spawner,
                            absl::FunctionRef<void()> expectations) {
    EXPECT_PRED1(::testing::ExitedWithCode(0), Run(spawner, [&] {
                   expectations();
                   return HasFailure() ? 1 : 0;
                 }));
  }
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_SPAWNER_HARNESS_H_
