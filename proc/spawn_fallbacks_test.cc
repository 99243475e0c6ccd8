// SPDX-License-Identifier: Apache-2.0
//
// How processes are created where a kernel or a policy refuses a call (row
// O18). Each parameter is a kind of machine:
//   - clone3 is missing (ENOSYS: before Linux 5.3, emulators), has no
//     CLONE_CLEAR_SIGHAND (EINVAL: before 5.5), or is refused (EPERM: policies
//     of containers, which cannot check its flags)
//   - clone accepts no exit signal but SIGCHLD (EINVAL: emulators; EPERM:
//     policies)
//   - PR_GET_TID_ADDRESS is missing (EINVAL: kernels without checkpoints)
//   - get_robust_list is missing (ENOSYS) or refused (EPERM), alone and with
//     set_robust_list
//   - clone accepts no CLONE_PARENT (EINVAL, EPERM)
//   - all of it at once, as with user-mode emulation
//   - every way is refused, or there is a shortage (EAGAIN, ENOMEM), which is
//     no reason for another way

#include <linux/sched.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/reaper_harness.h"
#include "brood/testing/support/refuse_calls.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ReaperHarness;
using ::brood::testing::RefuseArgument;
using ::brood::testing::RefuseCalls;
using ::brood::testing::Shared;
using ::brood::testing::StatusIs;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::KilledBySignal;
using ::testing::SizeIs;

constexpr uint32_t kExitSignal = 0xff;  // CSIGNAL

void RefuseOtherExitSignals(int error) {
  RefuseArgument({SYS_clone, 0, kExitSignal, SIGCHLD, false, error});
}
void RefuseSiblings(int error) {
  RefuseCalls({SYS_clone3}, ENOSYS);
  RefuseArgument({SYS_clone, 0, CLONE_PARENT, CLONE_PARENT, true, error});
}
void RefuseTidAddress() {
  RefuseArgument({SYS_prctl, 0, ~0U, PR_GET_TID_ADDRESS, true, EINVAL});
}

// A kind of machine, and how a spawner must create children on it.
struct Machine {
  std::string name;
  std::function<void()> refuse;
  std::string way;
  std::string why;
  // Whether siblings can be created, and whether the kernel sends the requested
  // exit signal.
  bool has_siblings = true;
  bool has_exit_signal = true;
};

std::ostream& operator<<(std::ostream& stream, const Machine& machine) {
  return stream << machine.name;
}

const Machine kMachines[] = {
    {"HasAll", [] {}, "", ""},
    {"HasNoClone3", [] { RefuseCalls({SYS_clone3}, ENOSYS); }, "clone",
     "clone3: Function not implemented"},
    {"HasNoClearSighand", [] { RefuseCalls({SYS_clone3}, EINVAL); }, "clone",
     "clone3: Invalid argument"},
    {"ForbidsClone3", [] { RefuseCalls({SYS_clone3}, EPERM); }, "clone",
     "clone3: Operation not permitted"},
    {"HasNoOtherExitSignal",
     [] {
       RefuseCalls({SYS_clone3}, ENOSYS);
       RefuseOtherExitSignals(EINVAL);
     },
     "clone with SIGCHLD", "clone with another exit signal: Invalid argument",
     true, false},
    {"ForbidsOtherExitSignals",
     [] {
       RefuseCalls({SYS_clone3}, EPERM);
       RefuseOtherExitSignals(EPERM);
     },
     "clone with SIGCHLD",
     "clone with another exit signal: Operation not permitted", true, false},
    {"HasNoTidAddress", RefuseTidAddress, "fork",
     "prctl PR_GET_TID_ADDRESS: Invalid argument", false, false},
    {"HasNoRobustList",
     [] {
       RefuseCalls({SYS_get_robust_list, SYS_set_robust_list}, ENOSYS);
     },
     "", ""},
    {"ForbidsGetRobustList", [] { RefuseCalls({SYS_get_robust_list}, EPERM); },
     "", ""},
    {"HasNoSiblings", [] { RefuseSiblings(EINVAL); }, "clone",
     "clone3: Function not implemented", false},
    {"ForbidsSiblings", [] { RefuseSiblings(EPERM); }, "clone",
     "clone3: Function not implemented", false},
    {"IsEmulated",
     [] {
       RefuseSiblings(EINVAL);
       RefuseOtherExitSignals(EINVAL);
       RefuseTidAddress();
       RefuseCalls({SYS_get_robust_list, SYS_set_robust_list}, ENOSYS);
     },
     "fork", "prctl PR_GET_TID_ADDRESS: Invalid argument", false, false},
};

int WaitFor(pid_t pid) {
  int status = -1;
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, __WALL)), pid);
  return status;
}

void BlockExitSignal() {
  sigset_t exit_signal;
  sigemptyset(&exit_signal);
  sigaddset(&exit_signal, SIGRTMAX);
  sigprocmask(SIG_BLOCK, &exit_signal, nullptr);
}

// Runs `test` in another process, because a filter cannot be removed.
void Apart(absl::FunctionRef<void()> test) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    BlockExitSignal();
    test();
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  EXPECT_PRED1(ExitedWithCode(0), WaitFor(pid));
}

CloneSpawner Prepared(int exit_signal) {
  absl::StatusOr<CloneSpawner> spawner = CloneSpawner::Create(exit_signal);
  EXPECT_THAT(spawner, IsOk());
  EXPECT_THAT(spawner->Prepare(), IsOk());
  return *std::move(spawner);
}

int StatusOf(const CloneSpawner& spawner, absl::FunctionRef<int()> body) {
  absl::StatusOr<Child> child = spawner.Spawn(body);
  EXPECT_THAT(child, IsOk());
  return child.ok() ? WaitFor((*std::move(child)).Release()) : -1;
}

class SpawnFallbacksTest : public ::brood::testing::LeakCheck,
                           public ::testing::WithParamInterface<Machine> {};

INSTANTIATE_TEST_SUITE_P(Machine, SpawnFallbacksTest,
                         ::testing::ValuesIn(kMachines),
                         [](const auto& info) { return info.param.name; });

TEST_P(SpawnFallbacksTest, CreatesChildrenAndReportsTheWay) {
  Apart([] {
    GetParam().refuse();
    const CloneSpawner spawner = Prepared(SIGRTMAX);
    for (const int code : {0, 7, 255}) {
      EXPECT_PRED1(ExitedWithCode(code),
                   StatusOf(spawner, [code] { return code; }));
      EXPECT_EQ(spawner.fallback().way, GetParam().way);
      EXPECT_EQ(spawner.fallback().why, GetParam().why);
    }
  });
}

// Whatever the way, a child has the same state: signals, and the thread id of
// the C library.
TEST_P(SpawnFallbacksTest, StartsChildInCleanState) {
  Apart([] {
    GetParam().refuse();
    std::signal(SIGUSR1, [](int) {});
    std::signal(SIGUSR2, SIG_IGN);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_BLOCK, &blocked, nullptr);
    const CloneSpawner spawner = Prepared(SIGRTMAX);
    const int status = StatusOf(spawner, [] {
      for (const int signal : {SIGUSR1, SIGUSR2}) {
        EXPECT_EQ(std::signal(signal, SIG_DFL), SIG_DFL) << signal;
      }
      sigset_t mask;
      sigprocmask(SIG_BLOCK, nullptr, &mask);
      EXPECT_EQ(sigismember(&mask, SIGHUP), 0);
      EXPECT_EQ(gettid(), getpid());
      pthread_mutexattr_t checking;
      pthread_mutexattr_init(&checking);
      pthread_mutexattr_settype(&checking, PTHREAD_MUTEX_ERRORCHECK);
      pthread_mutex_t mutex;
      pthread_mutex_init(&mutex, &checking);
      EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
      EXPECT_EQ(mutex.__data.__owner, getpid());
      EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
      return HasFailure() ? 1 : 0;
    });
    EXPECT_PRED1(ExitedWithCode(0), status);
    EXPECT_PRED1(KilledBySignal(SIGUSR1),
                 StatusOf(spawner, [] { return raise(SIGUSR1); }));
    // The signals of the parent have not changed.
    EXPECT_EQ(std::signal(SIGUSR2, SIG_DFL), SIG_IGN);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, nullptr, &mask);
    EXPECT_EQ(sigismember(&mask, SIGHUP), 1);
  });
}

TEST_P(SpawnFallbacksTest, CreatesSiblingOrReturnsTheReason) {
  Apart([] {
    Shared<pid_t> spawned;
    GetParam().refuse();
    const int status = StatusOf(Prepared(SIGRTMAX), [&] {
      BlockExitSignal();
      const CloneSpawner own = Prepared(SIGRTMAX);
      const absl::StatusOr<pid_t> sibling =
          own.SpawnSibling([] { return 7; }, &*spawned);
      EXPECT_EQ(sibling.ok(), GetParam().has_siblings) << sibling.status();
      if (!sibling.ok()) {
        EXPECT_THAT(sibling.status().message(), HasSubstr("clone"));
        EXPECT_EQ(*spawned, 0);
        // Its own children can still be created.
        EXPECT_PRED1(ExitedWithCode(3), StatusOf(own, [] { return 3; }));
      }
      return HasFailure() ? 1 : 0;
    });
    EXPECT_PRED1(ExitedWithCode(0), status);
    if (GetParam().has_siblings) {
      EXPECT_PRED1(ExitedWithCode(7), WaitFor(*spawned));
    }
  });
}

// By a notice where the kernel sends one, and otherwise by the sweep, within
// its period.
TEST_P(SpawnFallbacksTest, ReaperFindsEachEnd) {
  for (const Reaper::Ownership ownership :
       {Reaper::Ownership::kOursAlone, Reaper::Ownership::kEveryChild}) {
    Apart([ownership] {
      GetParam().refuse();
      ReaperHarness harness(ownership);
      for (int i = 0; i < 40; ++i) {
        harness.SpawnZombie([i] { return i; });
      }
      if (GetParam().has_exit_signal) {
        EXPECT_THAT(harness.CleanupByQueue(), SizeIs(40));
        return;
      }
      // Makes the sweep due, and reaps the ends that it finds.
      const auto now = Reaper::Instant::clock::now();
      size_t found = harness.Cleanup(now).size();
      // On a busy machine the sweep was due already, and has found all of them.
      if (found < 40) {
        const auto next = harness.reaper().next_check();
        EXPECT_LE(next, now + std::chrono::milliseconds(51));
        found += harness.Cleanup(next).size();
      }
      EXPECT_EQ(found, 40u);
    });
  }
}

// An embedder may ignore SIGCHLD, or wait for any child: then the status of a
// child is unknown, and its end is found all the same.
TEST_P(SpawnFallbacksTest, ReaperFindsEndsWithTakenStatus) {
  Apart([] {
    GetParam().refuse();
    ReaperHarness harness(Reaper::Ownership::kOursAlone);
    harness.SpawnZombie([] { return 7; });
    const bool taken = waitpid(-1, nullptr, WNOHANG) > 0;
    EXPECT_EQ(taken, !GetParam().has_exit_signal);
    const auto ended = harness.AwaitEnded(1);
    ASSERT_THAT(ended, SizeIs(1));
    EXPECT_EQ(ended[0].status.unknown(), taken);
  });
}

TEST_P(SpawnFallbacksTest, RunsNoHandlerOfPthreadAtfork) {
  Apart([] {
    static Shared<int>* ran;
    Shared<int> counter;
    ran = &counter;
    pthread_atfork([] { ++**ran; }, [] { ++**ran; }, [] { ++**ran; });
    GetParam().refuse();
    EXPECT_PRED1(ExitedWithCode(0),
                 StatusOf(Prepared(SIGRTMAX), [] { return 0; }));
    EXPECT_EQ(*counter, 0);
  });
}

using SpawnRefusedTest = ::brood::testing::LeakCheck;

TEST_F(SpawnRefusedTest, ReturnsTheErrorWhenEveryWayIsRefused) {
  const std::pair<int, absl::StatusCode> kRefusals[] = {
      {EPERM, absl::StatusCode::kPermissionDenied},
      {EINVAL, absl::StatusCode::kInvalidArgument},
      {ENOSYS, absl::StatusCode::kUnimplemented},
  };
  for (const auto& [error, code] : kRefusals) {
    Apart([error = error, code = code] {
      const CloneSpawner spawner = Prepared(SIGRTMAX);
      RefuseCalls({SYS_clone3, SYS_clone}, error);
      for (int i = 0; i < 2; ++i) {
        EXPECT_THAT(spawner.Spawn([] { return 0; }),
                    StatusIs(code, HasSubstr("clone")));
        EXPECT_THAT(spawner.fallback().way, IsEmpty());
      }
    });
  }
}

TEST_F(SpawnRefusedTest, KeepsTheWayAfterAShortage) {
  for (const int error : {EAGAIN, ENOMEM}) {
    Apart([error] {
      const CloneSpawner spawner = Prepared(SIGRTMAX);
      RefuseCalls({SYS_clone3}, error);
      EXPECT_FALSE(spawner.Spawn([] { return 0; }).ok());
      EXPECT_THAT(spawner.fallback().way, IsEmpty());
    });
  }
}

}  // namespace
}  // namespace brood::proc
