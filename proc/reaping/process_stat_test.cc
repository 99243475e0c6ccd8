// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaping/process_stat.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

class ProcessStatTest : public ::brood::testing::LeakCheck {
 protected:
  static void AwaitZombie(pid_t pid) {
    siginfo_t ignored;
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &ignored,
                     WEXITED | WNOWAIT | __WALL),
              0);
  }
};

TEST_F(ProcessStatTest, ReadsThisProcess) {
  const absl::optional<ProcessStat> stat = ReadProcessStat(getpid());
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->state, 'R');
  EXPECT_EQ(stat->parent, getppid());
  EXPECT_EQ(LookAtDeath(getpid()), Death::kNone);
}

TEST_F(ProcessStatTest, ReturnsNothingForAMissingProcess) {
  for (const pid_t none : {0, -1, 5000001}) {
    EXPECT_FALSE(ReadProcessStat(none)) << none;
    EXPECT_EQ(LookAtDeath(none), Death::kNone) << none;
  }
}

// Whatever name the process has.
TEST_F(ProcessStatTest, ReadsAChildThatHasEnded) {
  for (const int exit_signal : {SIGCHLD, SIGRTMAX - 3}) {
    signal(SIGRTMAX - 3, [](int) {});
    const auto pid = static_cast<pid_t>(
        syscall(SYS_clone, exit_signal, nullptr, nullptr, nullptr, nullptr));
    if (pid == 0) {
      prctl(PR_SET_NAME, ") R 1 (2 3");
      _exit(0);
    }
    AwaitZombie(pid);
    const absl::optional<ProcessStat> stat = ReadProcessStat(pid);
    ASSERT_TRUE(stat);
    EXPECT_EQ(stat->state, 'Z');
    EXPECT_EQ(stat->parent, getpid());
    EXPECT_EQ(stat->exit_signal, exit_signal);
    EXPECT_EQ(LookAtDeath(pid), Death::kDead);
    waitpid(pid, nullptr, __WALL);
    signal(SIGRTMAX - 3, SIG_DFL);
  }
}

// The first thread has ended, so that the process is listed as a zombie.
TEST_F(ProcessStatTest, DistinguishesLiveProcessFromEndedOne) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void* fd) -> void* {
          // The first thread has ended when it is listed as a zombie.
          while (ReadProcessStat(getpid())->state != 'Z') sched_yield();
          (void)!write(*static_cast<int*>(fd), "x", 1);
          for (;;) pause();
        },
        &ready[1]);
    syscall(SYS_exit, 0);  // ends this thread alone
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(ReadProcessStat(pid)->state, 'Z');
  EXPECT_EQ(LookAtDeath(pid), Death::kNone);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  for (const int fd : ready) close(fd);
}

// Between vfork() and the end of its child, a process is in the same sleep as
// while it waits for a device that does not respond.
TEST_F(ProcessStatTest, ReportsUninterruptibleSleep) {
  int ready[2], end[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(end), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    close(end[1]);
    // The same as vfork(), a name that tools forbid.
    if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, nullptr, nullptr, nullptr,
                nullptr) == 0) {
      char byte;
      (void)!write(ready[1], "x", 1);
      (void)!read(end[0], &byte, 1);
    }
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  while (ReadProcessStat(pid)->state != 'D') sched_yield();
  EXPECT_EQ(LookAtDeath(pid), Death::kStuck);
  for (const int fd : {ready[0], ready[1], end[0], end[1]}) close(fd);
  waitpid(pid, nullptr, 0);
}

}  // namespace
}  // namespace brood::proc
