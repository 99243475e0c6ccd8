// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/syscalls/syscall_table.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

// The functions under test.
namespace sample {

// NOLINTNEXTLINE(android-cloexec-dup): the call is made to fail.
__attribute__((noinline)) int Duplicate() { return dup(STDERR_FILENO); }

__attribute__((noinline)) bool IsOpenTwice() {
  return fcntl(STDERR_FILENO, F_GETFD) >= 0 &&
         fcntl(STDERR_FILENO, F_GETFL) >= 0;
}

__attribute__((noinline)) long Self() { return syscall(SYS_getpid); }

__attribute__((noinline)) int Close(int fd) { return close(fd); }

__attribute__((noinline)) bool Ring(int bell) {
  return eventfd_write(bell, 1) == 0;
}

__attribute__((noinline)) pid_t Reap(pid_t pid) {
  return wait4(pid, nullptr, WNOHANG, nullptr);
}

}  // namespace sample

namespace elsewhere {

int CloseToo(int fd) { return close(fd); }

}  // namespace elsewhere

namespace brood::testing {
namespace {

class SyscallTableTest : public LeakCheck {
 protected:
  void SetUp() override {
#ifdef __OPTIMIZE__
    GTEST_SKIP() << "with an optimizer the sites differ from the source";
#endif
  }

  SyscallTable table_{{"sample"}};
};

TEST_F(SyscallTableTest, ListsEverySiteByName) {
  std::vector<std::string> names;
  for (const auto& site : table_.sites()) names.push_back(site.name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "sample::Close close", "sample::Duplicate dup",
                       "sample::IsOpenTwice fcntl #1",
                       "sample::IsOpenTwice fcntl #2", "sample::Reap wait4",
                       "sample::Ring eventfd_write", "sample::Self syscall"}));
}

TEST_F(SyscallTableTest, FailsTheChosenCalls) {
  table_.Arm();
  table_.Fail("sample::Duplicate dup", EMFILE, /*first=*/2, /*count=*/2);
  for (int call = 1; call <= 4; ++call) {
    errno = 0;
    const int fd = sample::Duplicate();
    const bool fails = call == 2 || call == 3;
    EXPECT_EQ(fd < 0, fails) << call;
    EXPECT_EQ(errno, fails ? EMFILE : 0);
    if (fd >= 0) close(fd);
  }
  EXPECT_EQ(table_.calls("dup"), 4);
  EXPECT_EQ(table_.failed("dup"), 2);
  // From now on.
  table_.FailAlways("dup", ENFILE);
  EXPECT_LT(sample::Duplicate(), 0);
  EXPECT_LT(sample::Duplicate(), 0);
  EXPECT_EQ(errno, ENFILE);
  table_.Reset();
  EXPECT_EQ(table_.calls("dup"), 0);
  close(sample::Duplicate());
}

TEST_F(SyscallTableTest, DistinguishesSimilarSites) {
  table_.Arm();
  EXPECT_TRUE(sample::IsOpenTwice());
  table_.Fail("fcntl #2", EBADF);
  EXPECT_FALSE(sample::IsOpenTwice());
  EXPECT_EQ(table_.calls("fcntl #1"), 2);
  EXPECT_EQ(table_.failed("fcntl #1"), 0);
  EXPECT_EQ(table_.failed("fcntl #2"), 1);
  EXPECT_TRUE(sample::IsOpenTwice());
}

TEST_F(SyscallTableTest, DoesNotFailOtherFunctions) {
  table_.Arm();
  const int fd = sample::Duplicate();
  // Also not the functions next to it.
  for (const auto& site : table_.sites()) table_.FailAlways(site.name, EIO);
  EXPECT_EQ(elsewhere::CloseToo(fd), 0);
}

TEST_F(SyscallTableTest, CountsCallsOfChildrenWithoutFailingThem) {
  table_.Arm();
  table_.FailAlways("Self syscall", EPERM);
  EXPECT_LT(sample::Self(), 0);
  const pid_t child = fork();
  if (child == 0) _exit(sample::Self() == getpid() ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(table_.calls("Self syscall"), 1);
  EXPECT_EQ(table_.calls_elsewhere("Self syscall"), 1);
  EXPECT_EQ(table_.number("Self syscall"), SYS_getpid);
}

TEST_F(SyscallTableTest, DoesNotFailCallsOfAnUnarmedProcess) {
  table_.FailAlways("Self syscall", EPERM);
  EXPECT_EQ(sample::Self(), getpid());
}

// The error must be true, because the caller relies on it.
TEST_F(SyscallTableTest, ClosesDescriptorWhenCloseFails) {
  table_.Arm();
  const int fd = sample::Duplicate();
  table_.Fail("Close close", EINTR);
  EXPECT_LT(sample::Close(fd), 0);
  EXPECT_EQ(errno, EINTR);
  EXPECT_LT(fcntl(fd, F_GETFD), 0);
}

TEST_F(SyscallTableTest, FillsCounterWhenWriteFailsWithEagain) {
  table_.Arm();
  const int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  table_.Fail("Ring eventfd_write", EAGAIN);
  EXPECT_FALSE(sample::Ring(bell));
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_FALSE(sample::Ring(bell)) << "it is";
  close(bell);
}

TEST_F(SyscallTableTest, ReapsChildWhenWaitFailsWithEchild) {
  table_.Arm();
  table_.Fail("Reap wait4", ECHILD);
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  EXPECT_EQ(sample::Reap(child), 0) << "a live child cannot have been reaped";
  kill(child, SIGKILL);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_LT(sample::Reap(child), 0);
  EXPECT_EQ(errno, ECHILD);
  EXPECT_EQ(table_.failed("Reap wait4"), 1);
}

using SyscallTableDeathTest = SyscallTableTest;

TEST_F(SyscallTableDeathTest, AbortsForUnknownOrAmbiguousName) {
  EXPECT_DEATH(table_.Fail("lseek", EINVAL), "the name of 0 sites");
  EXPECT_DEATH(table_.Fail("plicate dup", EINVAL), "the name of 0 sites");
  EXPECT_DEATH(table_.Fail("fcntl", EINVAL),
               "the name of 0 sites(.|\n)*IsOpenTwice fcntl #1");
}

TEST_F(SyscallTableDeathTest, AbortsForASecondTable) {
  EXPECT_DEATH(SyscallTable({"sample"}), "there is one already");
}

TEST(SyscallTableDeathTest2, AbortsIfNothingIsDiverted) {
  EXPECT_DEATH(SyscallTable({"nowhere"}), "no call is diverted");
}

}  // namespace
}  // namespace brood::testing
