// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/spawn.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "brood/proc/private_fds.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/shared.h"
#include "brood/testing/support/spawner_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::Census;
using ::brood::testing::IsOk;
using ::brood::testing::Shared;
using ::brood::testing::SpawnerTest;
using ::testing::ExitedWithCode;
using ::testing::IsEmpty;
using ::testing::KilledBySignal;

INSTANTIATE_TEST_SUITE_P(WithAndWithoutClone3, SpawnerTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Clone3" : "Clone";
                         });

TEST_P(SpawnerTest, ChildExitsWithTheResultOfItsBody) {
  Apart([] {
    const CloneSpawner spawner = Prepared();
    for (int code : {0, 1, 111, 255}) {
      EXPECT_PRED1(ExitedWithCode(code), Run(spawner, [code] { return code; }));
    }
  });
}

std::string LineOfStatus(const std::string& name) {
  std::ifstream status("/proc/self/status");
  std::string key, value;
  while (status >> key) {
    std::getline(status >> std::ws, value);
    if (key == name + ":") return value;
  }
  return "no such line";
}

TEST_P(SpawnerTest, ChildStartsWithNoSignalBlockedHandledOrIgnored) {
  Apart([] {
    // The last two belong to the C library; the program that starts this one
    // may ignore them.
    for (int signal : {SIGPIPE, SIGCHLD, SIGRTMAX, 32, 33}) {
      const uint64_t ignore[4] = {reinterpret_cast<uintptr_t>(SIG_IGN)};
      ASSERT_EQ(syscall(SYS_rt_sigaction, signal, ignore, nullptr, 8), 0);
    }
    for (int signal : {SIGUSR1, SIGTERM, SIGSEGV}) {
      std::signal(signal, [](int) {});
    }
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    ExpectInChild(Prepared(SIGRTMIN), [] {
      for (const char* what : {"SigBlk", "SigIgn", "SigCgt"}) {
        EXPECT_EQ(LineOfStatus(what), "0000000000000000") << what;
      }
    });
  });
}

TEST_P(SpawnerTest, ChildIgnoresTheSignalsOfItsSettings) {
  Apart([] {
    for (const int signal : {SIGINT, SIGPIPE}) std::signal(signal, SIG_IGN);
    std::signal(SIGHUP, [](int) {});
    ChildSettings settings;
    settings.ignored = {SIGHUP};
    settings.ignored_as_in_parent = {SIGINT, SIGQUIT};
    absl::StatusOr<CloneSpawner> spawner =
        CloneSpawner::Create(SIGCHLD, settings);
    ASSERT_THAT(spawner, IsOk());
    ASSERT_THAT(spawner->Prepare(), IsOk());
    ExpectInChild(*spawner, [] {
      EXPECT_EQ(LineOfStatus("SigIgn"), "0000000000000003");
    });
  });
}

TEST_P(SpawnerTest, ChildRunsInTheGroupOfItsSettings) {
  Apart([] {
    const pid_t group = getpgrp(), session = getsid(0);
    for (const ProcessGroup choice :
         {ProcessGroup::kInherited, ProcessGroup::kOwn,
          ProcessGroup::kOwnSession}) {
      ChildSettings settings;
      settings.group = choice;
      absl::StatusOr<CloneSpawner> spawner =
          CloneSpawner::Create(SIGCHLD, settings);
      ASSERT_THAT(spawner, IsOk());
      ASSERT_THAT(spawner->Prepare(), IsOk());
      ExpectInChild(*spawner, [&] {
        const bool inherits = choice == ProcessGroup::kInherited;
        EXPECT_EQ(getpgrp(), inherits ? group : getpid());
        EXPECT_EQ(getsid(0),
                  choice == ProcessGroup::kOwnSession ? getpid() : session);
      });
    }
  });
}

TEST_P(SpawnerTest, PrepareRecordsIgnoredSignals) {
  Apart([] {
    CloneSpawner spawner = Prepared();
    std::signal(SIGUSR1, SIG_IGN);
    ASSERT_THAT(spawner.Prepare(), IsOk());
    ExpectInChild(
        spawner, [] { EXPECT_EQ(LineOfStatus("SigIgn"), "0000000000000000"); });
  });
}

TEST_P(SpawnerTest, SpawnKeepsTheSignalStateOfTheParent) {
  Apart([] {
    std::signal(SIGUSR1, [](int) {});
    std::signal(SIGUSR2, SIG_IGN);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_SETMASK, &blocked, nullptr);
    const CloneSpawner spawner = Prepared();
    const Census before = Census::Take();
    Run(spawner, [] { return 0; });
    EXPECT_THAT(Census::Difference(before, Census::Take()), IsEmpty());
  });
}

std::atomic<bool>* handled_in_child;
pid_t handling_parent;

// R29: signals are sent to a child in its first millisecond, and to its parent.
TEST_P(SpawnerTest, HandlersOfTheParentNeverRunInAChild) {
  const Shared<std::atomic<bool>> ran_in_child;
  handled_in_child = &*ran_in_child;
  Apart([] {
    handling_parent = getpid();
    for (int signal : {SIGUSR1, SIGTERM}) {
      std::signal(signal, [](int) {
        if (getpid() == handling_parent) return;
        *handled_in_child = true;
        _exit(0);
      });
    }
    const pid_t storm = fork();
    while (storm == 0) sched_yield(), kill(getppid(), SIGUSR1);
    const CloneSpawner spawner = Prepared();
    for (int i = 0; i < 100; ++i) {
      const int signal = i % 2 == 0 ? SIGUSR1 : SIGTERM;
      absl::StatusOr<Child> child = spawner.Spawn([]() -> int {
        for (;;) pause();
      });
      ASSERT_THAT(child, IsOk());
      EXPECT_THAT(child->Signal(signal), IsOk());
      EXPECT_PRED1(KilledBySignal(signal),
                   WaitFor((*std::move(child)).Release()));
    }
    kill(storm, SIGKILL);
    WaitFor(storm);
  });
  EXPECT_FALSE(*ran_in_child);
}

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST_P(SpawnerTest, ChildClosesPrivateDescriptorsAndNoOthers) {
  Apart([] {
    int fds[10];
    for (int& fd : fds) fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const CloneSpawner spawner = Prepared();
    // Adjacent numbers in every order, and one alone.
    std::vector<PrivateFdRegistration> registrations;
    for (int i : {4, 2, 3, 7, 9, 8}) registrations.emplace_back(fds[i]);
    ExpectInChild(spawner, [&] {
      for (int i : {0, 1, 5, 6}) EXPECT_TRUE(IsOpen(fds[i])) << i;
      for (int i : {2, 3, 4, 7, 8, 9}) EXPECT_FALSE(IsOpen(fds[i])) << i;
    });
    for (int fd : fds) EXPECT_TRUE(IsOpen(fd));
  });
}

TEST_P(SpawnerTest, ChildKeepsDescriptorThatIsNoLongerPrivate) {
  Apart([] {
    int fds[3];
    for (int& fd : fds) fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const CloneSpawner spawner = Prepared();
    std::vector<PrivateFdRegistration> registrations;
    for (int fd : fds) registrations.emplace_back(fd);
    registrations[1] = PrivateFdRegistration();
    ExpectInChild(spawner, [&] {
      EXPECT_FALSE(IsOpen(fds[0]));
      EXPECT_TRUE(IsOpen(fds[1]));
      EXPECT_FALSE(IsOpen(fds[2]));
    });
  });
}

TEST_P(SpawnerTest, ChildKeepsThePrivateDescriptorInKeptFds) {
  Apart([] {
    int fds[5];
    for (int& fd : fds) fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const CloneSpawner spawner = Prepared();
    std::vector<PrivateFdRegistration> registrations;
    for (int fd : fds) registrations.emplace_back(fd);
    for (int kept = 0; kept < 5; ++kept) {
      const int status = WaitFor((*spawner.Spawn(
                                      [&] {
                                        for (int i = 0; i < 5; ++i) {
                                          EXPECT_EQ(IsOpen(fds[i]), i == kept);
                                        }
                                        return HasFailure() ? 1 : 0;
                                      },
                                      {fds[kept]}))
                                     .Release());
      EXPECT_PRED1(ExitedWithCode(0), status) << kept;
    }
  });
}

TEST_P(SpawnerTest, SpawnersOfAChildIgnorePrivateDescriptorsOfTheParent) {
  Apart([] {
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const PrivateFdRegistration registration(fd);
    ExpectInChild(Prepared(), [&] {
      // The number is free here, and now stands for another descriptor.
      ASSERT_EQ(dup2(STDERR_FILENO, fd), fd);
      ExpectInChild(Prepared(), [&] { EXPECT_TRUE(IsOpen(fd)); });
    });
  });
}

TEST_P(SpawnerTest, SiblingIsAChildOfTheParent) {
  Apart([] {
    Shared<pid_t> spawned;
    Shared<pid_t> parent_of_sibling;
    const CloneSpawner spawner = Prepared();
    ExpectInChild(spawner, [&] {
      const CloneSpawner own = Prepared(SIGUSR1);
      const absl::StatusOr<pid_t> sibling = own.SpawnSibling(
          [&] {
            *parent_of_sibling = getppid();
            return *spawned == getpid() ? 7 : 8;
          },
          &*spawned);
      ASSERT_THAT(sibling, IsOk());
      EXPECT_EQ(*sibling, *spawned);
      EXPECT_EQ(waitpid(*sibling, nullptr, __WALL), -1);
    });
    EXPECT_PRED1(ExitedWithCode(7), WaitFor(*spawned));
    EXPECT_EQ(*parent_of_sibling, getpid());
  });
}

TEST_P(SpawnerTest, ExitInABodyRunsNoHandlerOfTheParent) {
  Apart([] {
    Shared<int> ran;
    static int* counter;
    counter = &*ran;
    std::atexit([] { ++*counter; });
    EXPECT_PRED1(ExitedWithCode(5), Run(Prepared(), []() -> int {
                   std::printf("printed by a child that calls exit\n");
                   std::exit(5);
                 }));
    EXPECT_EQ(*ran, 0);
  });
}

TEST_P(SpawnerTest, CLibraryKnowsTheThreadOfTheChild) {
  Apart([] {
    const CloneSpawner spawner = Prepared();
    ExpectInChild(spawner, [] {
      EXPECT_EQ(gettid(), getpid());
      EXPECT_EQ(syscall(SYS_gettid), getpid());
      pthread_mutexattr_t checking;
      pthread_mutexattr_init(&checking);
      pthread_mutexattr_settype(&checking, PTHREAD_MUTEX_ERRORCHECK);
      pthread_mutex_t mutex;
      pthread_mutex_init(&mutex, &checking);
      EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
      EXPECT_EQ(pthread_mutex_lock(&mutex), EDEADLK);
      EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    });
    EXPECT_PRED1(KilledBySignal(SIGUSR1),
                 Run(spawner, [] { return raise(SIGUSR1); }));
    const auto kill_self = [] { return pthread_kill(pthread_self(), SIGUSR2); };
    EXPECT_PRED1(KilledBySignal(SIGUSR2), Run(spawner, kill_self));
  });
}

TEST_P(SpawnerTest, RobustMutexIsRecoveredAfterTheChildDies) {
  const Shared<pthread_mutex_t> mutex;
  pthread_mutexattr_t robust;
  pthread_mutexattr_init(&robust);
  pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&*mutex, &robust);
  Apart([&] {
    EXPECT_PRED1(ExitedWithCode(0),
                 Run(Prepared(), [&] { return pthread_mutex_lock(&*mutex); }));
    timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 10;
    EXPECT_EQ(pthread_mutex_timedlock(&*mutex, &deadline), EOWNERDEAD);
  });
}

TEST_P(SpawnerTest, FlushesBufferedOutputOnce) {
  Apart([] {
    const int file = memfd_create("stdout", MFD_CLOEXEC);
    const int before = dup(STDOUT_FILENO);
    dup2(file, STDOUT_FILENO);
    std::printf("the parent's, ");
    Run(Prepared(), [] { return std::printf("the child's, "); });
    std::fflush(stdout);
    dup2(before, STDOUT_FILENO);
    char text[100] = "";
    EXPECT_GT(pread(file, text, sizeof(text) - 1, 0), 0);
    EXPECT_STREQ(text, "the child's, the parent's, ");
  });
}

std::atomic<int>* endings;

struct Ending {
  ~Ending() { ++*endings; }
};

TEST_P(SpawnerTest, ChildDestroysNoObjectsOfTheParent) {
  const Shared<std::atomic<int>> counted;
  endings = &*counted;
  Apart([] {
    std::atexit([] { ++*endings; });
    static const Ending a_static;
    const Ending in_a_frame;
    EXPECT_PRED1(ExitedWithCode(3), Run(Prepared(), [] { return 3; }));
    EXPECT_EQ(*endings, 0);
  });
}

TEST_P(SpawnerTest, ExceptionThatLeavesTheBodyAborts) {
  Apart([] {
    // If the exception reached this frame, the child would end in another way.
    try {
      EXPECT_PRED1(KilledBySignal(SIGABRT),
                   Run(Prepared(), []() -> int { throw 1; }));
    } catch (...) {
      _exit(0);
    }
  });
}

TEST_P(SpawnerTest, ExitSignalCarriesThePidOfTheChild) {
  Apart([] {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGRTMAX);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    absl::StatusOr<Child> child = Prepared(SIGRTMAX).Spawn([] { return 7; });
    ASSERT_THAT(child, IsOk());
    siginfo_t notice;
    ASSERT_EQ(TEMP_FAILURE_RETRY(sigwaitinfo(&signals, &notice)), SIGRTMAX);
    EXPECT_EQ(notice.si_pid, child->pid());
    // A wait without __WALL does not find such a child.
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_PRED1(ExitedWithCode(7), WaitFor((*std::move(child)).Release()));
  });
}

}  // namespace
}  // namespace brood::proc
