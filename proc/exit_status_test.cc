// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/exit_status.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>

#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

constexpr int kCore = 0x80;  // the bit of a core dump in the status

ExitStatus Exited(int code) {
  return ExitStatus::FromWait(code << 8, rusage());
}
ExitStatus Killed(int signal, int core = 0) {
  return ExitStatus::FromWait(signal | core, rusage());
}

TEST(ExitStatusTest, IsExitedKilledOrUnknown) {
  for (int code : {0, 1, 111, 255}) {
    EXPECT_TRUE(Exited(code).exited());
    EXPECT_FALSE(Exited(code).killed());
    EXPECT_FALSE(Exited(code).unknown());
    EXPECT_EQ(Exited(code).code(), code);
  }
  for (int signal : {1, 9, 11, 64}) {
    EXPECT_FALSE(Killed(signal).exited());
    EXPECT_TRUE(Killed(signal).killed());
    EXPECT_FALSE(Killed(signal).unknown());
    EXPECT_EQ(Killed(signal).signal(), signal);
  }
  EXPECT_FALSE(ExitStatus::Unknown().exited());
  EXPECT_FALSE(ExitStatus::Unknown().killed());
  EXPECT_TRUE(ExitStatus::Unknown().unknown());
}

// The values that wait4 stores for a stop and for its end, and values that are
// not a status.
TEST(ExitStatusTest, IsUnknownIfTheWaitStatusIsNoEnd) {
  for (const int no_end : {0x7f, SIGTRAP << 8 | 0x7f, SIGSTOP << 8 | 0x7f,
                           0xffff, 0x7e, 0x41, -1}) {
    const ExitStatus status = ExitStatus::FromWait(no_end, rusage());
    EXPECT_TRUE(status.unknown()) << no_end;
    EXPECT_FALSE(status.exited() || status.killed()) << no_end;
  }
}

TEST(ExitStatusTest, IsUnknownIfTheChildIsHeldOrGivenUp) {
  for (const ExitStatus& status : {ExitStatus::Held(), ExitStatus::GivenUp()}) {
    EXPECT_TRUE(status.unknown());
    EXPECT_FALSE(status.exited() || status.killed());
    EXPECT_NE(status.held(), status.given_up());
  }
  EXPECT_EQ(ExitStatus::Held().ToString(),
            "is dead, and a tracer holds its status");
  EXPECT_EQ(ExitStatus::GivenUp().ToString(), "cannot be killed, given up");
}

TEST(ExitStatusTest, ReportsCoreDump) {
  EXPECT_TRUE(Killed(SIGSEGV, kCore).core_dumped());
  EXPECT_FALSE(Killed(SIGSEGV).core_dumped());
  EXPECT_FALSE(Exited(kCore).core_dumped());
  EXPECT_FALSE(ExitStatus::Unknown().core_dumped());
}

TEST(ExitStatusTest, PrintsEachKindOfEnd) {
  EXPECT_EQ(Exited(0).ToString(), "exited with code 0");
  EXPECT_EQ(Exited(255).ToString(), "exited with code 255");
  EXPECT_EQ(Killed(SIGKILL).ToString(), "killed by SIGKILL (Killed)");
  EXPECT_EQ(Killed(SIGSEGV, kCore).ToString(),
            "killed by SIGSEGV (Segmentation fault), core dumped");
  EXPECT_EQ(Killed(SIGRTMAX).ToString(), "killed by signal 64");
  EXPECT_EQ(Killed(SIGRTMIN, kCore).ToString(),
            "killed by signal " + std::to_string(SIGRTMIN) + ", core dumped");
  EXPECT_EQ(ExitStatus::Unknown().ToString(), "ended with unknown status");
}

TEST(ExitStatusTest, TruncatesTextThatDoesNotFit) {
  char text[12];
  EXPECT_EQ(Killed(SIGSEGV).Print(text, sizeof(text)), text);
  EXPECT_EQ(std::string(text), "killed by S");
  EXPECT_EQ(std::string(Exited(3).Print(text, 5)), "exit");
}

using ExitStatusOfAProcessTest = ::brood::testing::LeakCheck;

TEST_F(ExitStatusOfAProcessTest, MatchesTheStatusFromTheKernel) {
  const pid_t pid = fork();
  if (pid == 0) _exit(7);
  int wait_status;
  rusage usage;
  ASSERT_EQ(TEMP_FAILURE_RETRY(wait4(pid, &wait_status, 0, &usage)), pid);
  const ExitStatus status = ExitStatus::FromWait(wait_status, usage);
  EXPECT_EQ(status.ToString(), "exited with code 7");
  EXPECT_GT(status.usage().ru_maxrss, 0);
  EXPECT_EQ(ExitStatus::Unknown().usage().ru_maxrss, 0);
}

}  // namespace
}  // namespace brood::proc
