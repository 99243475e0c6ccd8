// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/launch/launcher.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "brood/proc/spawn.h"
#include "brood/testing/support/launcher_harness.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::LauncherTest;
using ::testing::ExitedWithCode;

TEST_F(LauncherTest, PassesArgumentsAndTheWholeEnvironment) {
  char first[] = "A=1";
  char second[] = "B=";
  char* const environment[] = {first, second, nullptr};
  EXPECT_EQ(Launched(Execute({"/usr/bin/env"}), {}, environment),
            "A=1\nB=\nexited 0");
  EXPECT_EQ(Launched(Execute({"/bin/echo", "", "two words"})),
            " two words\nexited 0");
}

TEST_F(LauncherTest, ReportsTheExitCodeOrTheSignalOfTheProgram) {
  EXPECT_EQ(Launched(Shell("exit 7")), "exited 7");
  EXPECT_EQ(Launched(Shell("kill -9 $$")), "killed 9");
}

// The shell of the list opens one descriptor more, with the number 3.
TEST_F(LauncherTest, ClosesEveryDescriptorButThoseOfTheProgram) {
  const int leaked = dup2(STDERR_FILENO, 77);
  LaunchedProgram program = Execute({"/bin/ls", "/proc/self/fd"});
  EXPECT_EQ(Launched(program), "0\n1\n2\n3\nexited 0");
  program.targets = {STDIN_FILENO, STDOUT_FILENO, 3};
  EXPECT_EQ(Launched(program), "0\n1\n2\n3\n4\nexited 0");
  close(leaked);
}

// The connection has the number that the program is to have.
TEST_F(LauncherTest, KeepsAConnectionThatHasItsNumberAlready) {
  const int input = dup(STDIN_FILENO);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_EQ(dup3(pair[1], STDIN_FILENO, O_CLOEXEC), STDIN_FILENO);
  close(pair[1]);
  Launcher launcher(SIGCHLD, {}, Execute({"/bin/cat"}));
  auto child = launcher.Launch(STDIN_FILENO, kEmpty);
  dup2(input, STDIN_FILENO);
  close(input);
  ASSERT_TRUE(child && child->ok());
  EXPECT_EQ(write(pair[0], "x", 1), 1);
  shutdown(pair[0], SHUT_WR);
  const Running running = {std::move(**child).Release(), pair[0]};
  EXPECT_EQ(ReadAll(running), "x");
  EXPECT_PRED1(ExitedWithCode(0), Wait(running.pid));
}

TEST_F(LauncherTest, ChangesTheDirectory) {
  LaunchedProgram program = Execute({"/bin/pwd"});
  program.directory = "/proc";
  EXPECT_EQ(Launched(program), "/proc\nexited 0");
}

TEST_F(LauncherTest, MovesToAGroupOrASession) {
  const LaunchedProgram program = Shell(
      "read pid name state parent group session rest < /proc/self/stat; "
      "test $group = $pid && echo group; "
      "test $session = $pid && echo session; exit 0");
  ChildSettings settings;
  EXPECT_EQ(Launched(program, settings), "exited 0");
  settings.group = ProcessGroup::kOwn;
  EXPECT_EQ(Launched(program, settings), "group\nexited 0");
  LaunchedProgram leader = program;
  leader.begins_session = true;
  EXPECT_EQ(Launched(leader, settings), "group\nsession\nexited 0");
  settings.group = ProcessGroup::kOwnSession;
  EXPECT_EQ(Launched(program, settings), "group\nsession\nexited 0");
}

TEST_F(LauncherTest, GivesBackTheLimitOfDescriptors) {
  ChildSettings settings;
  settings.descriptors = rlimit{50, 60};
  EXPECT_EQ(Launched(Shell("ulimit -Sn"), settings), "50\nexited 0");
  settings.descriptors = rlimit{RLIM_INFINITY, RLIM_INFINITY};
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit own = {before.rlim_max - 1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &own), 0);
  EXPECT_EQ(Launched(Shell("ulimit -Sn; ulimit -Hn"), settings),
            absl::StrCat(own.rlim_max, "\n", own.rlim_max, "\nexited 0"))
      << "a hard limit that was lowered since stays";
  setrlimit(RLIMIT_NOFILE, &before);
}

// The signals of the parent: SIGHUP has a handler, SIGPIPE and SIGALRM are
// ignored, SIGUSR1 is blocked.
TEST_F(LauncherTest, ResetsSignalsThatTheProgramDoesNotKeepIgnored) {
  std::signal(SIGHUP, [](int) {});
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGALRM, SIG_IGN);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  LaunchedProgram program =
      Execute({"/bin/grep", "Sig[BI]", "/proc/self/status"});
  program.kept_if_ignored = {SIGALRM, SIGHUP, SIGUSR2};
  ChildSettings settings;
  settings.ignored = {SIGUSR2, SIGINT};
  // SIGUSR2 is bit 11, SIGALRM bit 13.
  EXPECT_EQ(Launched(program, settings),
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000002800\n"
            "exited 0");
  sigset_t after;
  sigprocmask(SIG_SETMASK, &before, &after);
  EXPECT_TRUE(sigismember(&after, SIGUSR1)) << "the mask of the parent";
  EXPECT_FALSE(sigismember(&after, SIGTERM));
  std::signal(SIGHUP, SIG_DFL);
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGALRM, SIG_DFL);
}

TEST_F(LauncherTest, ExecutesNothingWithoutTheParentToDieWith) {
  LaunchedProgram program = Shell("echo executed");
  program.dies_with = 1;
  EXPECT_EQ(Launched(program), "exited 111");
  program.dies_with = getpid();
  EXPECT_EQ(Launched(program), "executed\nexited 0");
}

TEST_F(LauncherTest, UsesAnAreaAgainWhileItsFirstProgramRuns) {
  Launcher launcher(SIGCHLD, {}, Execute({"/bin/cat"}));
  std::vector<Running> programs;
  for (int i = 0; i < 100; ++i) {
    programs.push_back(Start(launcher));
    ASSERT_NE(programs.back().pid, 0) << i;
    // An echo proves that the program is executed.
    EXPECT_EQ(write(programs.back().client, "x", 1), 1);
    char byte;
    EXPECT_EQ(read(programs.back().client, &byte, 1), 1);
  }
  for (const Running& each : programs) {
    close(each.client);
    EXPECT_PRED1(ExitedWithCode(0), Wait(each.pid));
    EXPECT_TRUE(launcher.TakeError(each.pid).ok());
  }
}

}  // namespace
}  // namespace brood::proc
