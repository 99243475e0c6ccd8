// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/leak_check.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Returns the differences that a census finds after `leave_something`.
std::vector<std::string> TracesOf(
    const std::function<void()>& leave_something) {
  const Census before = Census::Take();
  leave_something();
  return Census::Difference(before, Census::Take());
}

// Forks a child that lives until it is killed.
pid_t ForkIdle() {
  const pid_t pid = fork();
  while (pid == 0) pause();
  return pid;
}

void AwaitZombie(pid_t pid) {
  siginfo_t ignored;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &ignored,
                   WEXITED | WNOWAIT | __WALL),
            0);
}

TEST(CensusTest, FindsNothingWhereNothingHappened) {
  EXPECT_THAT(TracesOf([] {}), IsEmpty());
}

TEST(CensusTest, NamesADescriptorThatWasLeftOpen) {
  int fd = -1;
  const auto traces = TracesOf([&] { fd = open("/dev/null", O_RDONLY); });
  EXPECT_THAT(traces, ElementsAre("descriptor " + std::to_string(fd) +
                                  " was left open: /dev/null"));
  close(fd);
}

TEST(CensusTest, NamesADescriptorThatWasClosed) {
  const int fd = open("/dev/null", O_RDONLY);
  EXPECT_THAT(TracesOf([&] { close(fd); }),
              ElementsAre(HasSubstr("was closed: /dev/null")));
}

TEST(CensusTest, SeesThatANumberMeansAnotherFileNow) {
  const int fd = open("/dev/null", O_RDONLY);
  EXPECT_THAT(TracesOf([&] {
                close(fd);
                ASSERT_EQ(open("/dev/zero", O_RDONLY), fd);
              }),
              ElementsAre(HasSubstr("was /dev/null and is /dev/zero")));
  close(fd);
}

TEST(CensusTest, LeavesOutADescriptorThatWasForgotten) {
  const int fd = open("/dev/null", O_RDONLY);
  Census before = Census::Take();
  before.Forget(fd);
  close(fd);
  EXPECT_THAT(Census::Difference(before, Census::Take()), IsEmpty());
}

TEST(CensusTest, NamesAChildThatLives) {
  pid_t pid = 0;
  const auto traces = TracesOf([&] { pid = ForkIdle(); });
  EXPECT_THAT(traces, ElementsAre(HasSubstr("child " + std::to_string(pid) +
                                            " was left: alive")));
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST(CensusTest, NamesAZombie) {
  pid_t pid = 0;
  EXPECT_THAT(TracesOf([&] {
                pid = fork();
                if (pid == 0) _exit(0);
                AwaitZombie(pid);
              }),
              ElementsAre(HasSubstr("a zombie, never reaped")));
  waitpid(pid, nullptr, 0);
}

// A child such as those of a server: wait() does not find it.
TEST(CensusTest, NamesAChildWhoseEndRaisesNoSigchld) {
  pid_t pid = 0;
  EXPECT_THAT(TracesOf([&] {
                pid = static_cast<pid_t>(
                    syscall(SYS_clone, 0, nullptr, nullptr, nullptr, 0));
                if (pid == 0) _exit(0);
                AwaitZombie(pid);
              }),
              ElementsAre(HasSubstr("was left: a zombie")));
  waitpid(pid, nullptr, __WALL);
}

TEST(CensusTest, NamesAThingForEachOfManyThatWereLeft) {
  int fds[2];
  pid_t idle = 0, zombie = 0;
  EXPECT_THAT(TracesOf([&] {
                ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
                idle = ForkIdle();
                zombie = fork();
                if (zombie == 0) _exit(0);
                AwaitZombie(zombie);
              }),
              SizeIs(4));
  kill(idle, SIGKILL);
  for (pid_t pid : {idle, zombie}) waitpid(pid, nullptr, 0);
  for (int fd : fds) close(fd);
}

TEST(CensusTest, IgnoresTheEndOfAChildThatExistedBefore) {
  const pid_t pid = ForkIdle();
  EXPECT_THAT(TracesOf([&] {
                kill(pid, SIGKILL);
                AwaitZombie(pid);
              }),
              IsEmpty());
  waitpid(pid, nullptr, 0);
}

TEST(CensusTest, CountsThreadsThatRun) {
  int gate[2];
  ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
  std::thread thread;
  EXPECT_THAT(TracesOf([&] {
                thread = std::thread([&] {
                  char ignored;
                  (void)!read(gate[0], &ignored, 1);
                });
              }),
              ElementsAre("there were 1 threads and are 2"));
  close(gate[1]);
  thread.join();
  close(gate[0]);
}

TEST(CensusTest, CountsNoThreadThatWasJoined) {
  for (int i = 0; i < 200; ++i) {
    EXPECT_THAT(TracesOf([] { std::thread([] {}).join(); }), IsEmpty());
  }
}

TEST(CensusTest, NamesASignalThatWasLeftBlocked) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR2);
  EXPECT_THAT(TracesOf([&] { sigprocmask(SIG_BLOCK, &signals, nullptr); }),
              ElementsAre("SIGUSR2 was left blocked"));
  EXPECT_THAT(TracesOf([&] { sigprocmask(SIG_UNBLOCK, &signals, nullptr); }),
              ElementsAre("SIGUSR2 was left unblocked"));
}

TEST(CensusTest, NamesASignalThatWasLeftHandled) {
  EXPECT_THAT(TracesOf([] { std::signal(SIGUSR2, [](int) {}); }),
              ElementsAre(HasSubstr("SIGUSR2 was (default")));
  std::signal(SIGUSR2, SIG_DFL);
}

TEST(CensusTest, SeesTheFlagsAndTheMaskOfAHandler) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(SIGRTMAX, &action, nullptr);
  EXPECT_THAT(TracesOf([&] {
                action.sa_flags = SA_NODEFER;
                sigaction(SIGRTMAX, &action, nullptr);
              }),
              SizeIs(1));
  EXPECT_THAT(TracesOf([&] {
                sigaddset(&action.sa_mask, SIGHUP);
                sigaction(SIGRTMAX, &action, nullptr);
              }),
              ElementsAre(HasSubstr("blocks SIGHUP")));
  std::signal(SIGRTMAX, SIG_DFL);
}

TEST(CensusTest, SeesThatChildrenAreNotToBecomeZombies) {
  struct sigaction action = {};
  action.sa_flags = SA_NOCLDWAIT;
  EXPECT_THAT(TracesOf([&] { sigaction(SIGCHLD, &action, nullptr); }),
              ElementsAre(HasSubstr("SIGCHLD was (default")));
  std::signal(SIGCHLD, SIG_DFL);
}

TEST(CensusTest, SeesNoDifferenceInWhatHasNoEffect) {
  EXPECT_THAT(TracesOf([] { std::signal(SIGUSR1, SIG_DFL); }), IsEmpty());
}

class Fixture : public LeakCheck {
 public:
  void TestBody() override {}
};

// Returns the failure of a test that calls `leave_something`; empty if it
// passes.
std::string FailureOf(const std::function<void()>& leave_something) {
  ::testing::TestPartResultArray failures;
  {
    ::testing::ScopedFakeTestPartResultReporter intercept(
        ::testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &failures);
    Fixture fixture;
    leave_something();
  }
  EXPECT_LE(failures.size(), 1);
  return failures.size() == 0 ? "" : failures.GetTestPartResult(0).message();
}

TEST(LeakCheckTest, PassesATestThatLeavesNothing) {
  EXPECT_EQ(FailureOf([] {}), "");
}

TEST(LeakCheckTest, FailsATestThatLeavesADescriptor) {
  int fd = -1;
  EXPECT_THAT(FailureOf([&] { fd = open("/dev/null", O_RDONLY); }),
              HasSubstr("was left open: /dev/null"));
  close(fd);
}

TEST(LeakCheckTest, FailsATestThatLeavesAThread) {
  int gate[2];
  ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
  std::thread thread;
  EXPECT_THAT(FailureOf([&] {
                thread = std::thread([&] {
                  char ignored;
                  (void)!read(gate[0], &ignored, 1);
                });
              }),
              HasSubstr("there were 1 threads and are 2"));
  close(gate[1]);
  thread.join();
  close(gate[0]);
}

TEST(LeakCheckTest, FailsATestThatLeavesAChild) {
  pid_t pid = 0;
  EXPECT_THAT(FailureOf([&] { pid = ForkIdle(); }), HasSubstr("left: alive"));
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST(LeakCheckTest, FailsATestThatLeavesAZombie) {
  pid_t pid = 0;
  EXPECT_THAT(FailureOf([&] {
                pid = fork();
                if (pid == 0) _exit(0);
                AwaitZombie(pid);
              }),
              HasSubstr("a zombie, never reaped"));
  waitpid(pid, nullptr, 0);
}

class TidyFixture : public Fixture {
  const int fd_ = open("/dev/null", O_RDONLY);

 public:
  ~TidyFixture() override { close(fd_); }
};

TEST(LeakCheckTest, AllowsWhatADerivedFixtureKeepsInItsMembers) {
  TidyFixture fixture;
}

}  // namespace
}  // namespace brood::testing
