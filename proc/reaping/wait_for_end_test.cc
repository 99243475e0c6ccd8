// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaping/wait_for_end.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <thread>  // NOLINT(build/c++11): a thread that is not a tracer.

#include "absl/types/optional.h"
#include "brood/proc/exit_status.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using Kind = WaitResult::Kind;

volatile sig_atomic_t handled = 0;

// Asks to be traced by its parent.
void AskToBeTraced() { ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }

class WaitForEndTest : public ::brood::testing::LeakCheck {
 protected:
  static pid_t Fork(const std::function<int()>& body) {
    const pid_t pid = fork();
    if (pid == 0) _exit(body());
    return pid;
  }
  // Returns a child with the exit signal `signal` that ends at once.
  static pid_t Clone(int signal) {
    const auto pid = static_cast<pid_t>(
        syscall(SYS_clone, signal, nullptr, nullptr, nullptr, nullptr));
    if (pid == 0) _exit(0);
    return pid;
  }
  // Waits for the end of `pid` as the reaper does: calls WaitForEnd() whenever
  // the kernel has a change to report.
  WaitResult WaitUntilEnded(pid_t pid) {
    for (;;) {
      AwaitChange(pid);
      const WaitResult result = WaitForEnd(pid, [&](pid_t stopped) {
        EXPECT_EQ(stopped, pid);
        return ++stops_;
      });
      if (result.kind != Kind::kLives) return result;
    }
  }
  static void AwaitChange(pid_t pid) {
    siginfo_t ignored;
    EXPECT_EQ(TEMP_FAILURE_RETRY(waitid(P_PID, static_cast<id_t>(pid), &ignored,
                                        WEXITED | WSTOPPED | WNOWAIT | __WALL)),
              0);
  }

  int stops_ = 0;
};

TEST_F(WaitForEndTest, ReturnsAnEndOnce) {
  const pid_t pid = Fork([] { return 7; });
  const WaitResult result = WaitUntilEnded(pid);
  EXPECT_EQ(result.kind, Kind::kEnded);
  EXPECT_EQ(result.pid, pid);
  EXPECT_EQ(result.status.code(), 7);
  EXPECT_EQ(WaitForEnd(pid, [](pid_t) { return 0; }).kind, Kind::kGone);
}

TEST_F(WaitForEndTest, NeverBlocksOnLiveChild) {
  const pid_t pid = Fork([]() -> int {
    for (;;) pause();
  });
  const auto count = [](pid_t) { return 0; };
  EXPECT_EQ(WaitForEnd(pid, count).kind, Kind::kLives);
  EXPECT_EQ(WaitForEnd(-1, count).kind, Kind::kLives);
  EXPECT_EQ(WaitForEnd(-1, count).pid, 0);
  kill(pid, SIGKILL);
  EXPECT_EQ(AwaitEnd(pid).status.signal(), SIGKILL);
  EXPECT_EQ(WaitForEnd(-1, count).kind, Kind::kGone);
}

// A child that asks to be traced, its further actions, and how it ends in spite
// of them.
struct Traced {
  const char* name;
  int (*body)();
  const char* end;
};

class TracedChildTest : public WaitForEndTest,
                        public ::testing::WithParamInterface<Traced> {};

TEST_P(TracedChildTest, EndsAsWithoutATracer) {
  const pid_t pid = Fork([] {
    AskToBeTraced();
    return GetParam().body();
  });
  const WaitResult result = WaitUntilEnded(pid);
  EXPECT_EQ(result.kind, Kind::kEnded);
  EXPECT_EQ(result.status.ToString(), GetParam().end);
}

INSTANTIATE_TEST_SUITE_P(
    That, TracedChildTest,
    ::testing::Values(Traced{"Exits", [] { return 3; }, "exited with code 3"},
                      Traced{"RaisesASignalThatItHandles",
                             [] {
                               std::signal(SIGUSR1, [](int) { handled = 1; });
                               raise(SIGUSR1);
                               return handled == 1 ? 4 : 5;
                             },
                             "exited with code 4"},
                      Traced{"RaisesASignalThatItIgnores",
                             [] {
                               std::signal(SIGUSR1, SIG_IGN);
                               raise(SIGUSR1);
                               return 6;
                             },
                             "exited with code 6"},
                      Traced{"RaisesATrap",
                             [] {
                               raise(SIGTRAP);
                               return 7;
                             },
                             "exited with code 7"},
                      Traced{"ExecutesAProgram",
                             [] {
                               execl("/bin/sh", "sh", "-c", "exit 8", nullptr);
                               return 127;
                             },
                             "exited with code 8"},
                      Traced{"Crashes",
                             [] {
                               raise(SIGSEGV);
                               return 9;
                             },
                             "killed by SIGSEGV (Segmentation fault)"},
                      Traced{"RaisesARealTimeSignal",
                             [] {
                               raise(SIGRTMAX);
                               return 9;
                             },
                             "killed by signal 64"},
                      Traced{"StopsTwice",
                             [] {
                               std::signal(SIGUSR1, SIG_IGN);
                               raise(SIGUSR1);
                               AskToBeTraced();
                               raise(SIGUSR1);
                               return 10;
                             },
                             "exited with code 10"},
                      Traced{"StopsWithoutEnd",
                             [] {
                               std::signal(SIGUSR1, SIG_IGN);
                               for (;;) {
                                 raise(SIGUSR1);
                                 AskToBeTraced();
                               }
                               return 0;
                             },
                             "killed by SIGKILL (Killed)"}),
    [](const auto& info) { return info.param.name; });

// Like a job of a shell: stopped, and without a tracer.
TEST_F(WaitForEndTest, LeavesChildStoppedThatStopsItself) {
  const pid_t pid = Fork([] {
    AskToBeTraced();
    raise(SIGSTOP);
    return 11;
  });
  AwaitChange(pid);
  EXPECT_EQ(WaitForEnd(pid, [](pid_t) { return 1; }).kind, Kind::kLives);
  AwaitChange(pid);
  EXPECT_EQ(WaitForEnd(pid, [](pid_t) { return 1; }).kind, Kind::kLives)
      << "a stop is not an end";
  kill(pid, SIGCONT);
  EXPECT_EQ(AwaitEnd(pid).status.code(), 11);
}

TEST_F(WaitForEndTest, FindsAnyChildThatHasStopped) {
  const pid_t pid = Fork([] {
    AskToBeTraced();
    raise(SIGTRAP);
    return 12;
  });
  AwaitChange(pid);
  const auto count = [](pid_t) { return 1; };
  WaitResult result = WaitForEnd(-1, count);
  EXPECT_EQ(result.kind, Kind::kLives);
  EXPECT_EQ(result.pid, pid) << "another child may have stopped";
  AwaitChange(pid);
  result = WaitForEnd(-1, count);
  EXPECT_EQ(result.kind, Kind::kEnded);
  EXPECT_EQ(result.status.code(), 12);
}

// Only the thread that created a child becomes its tracer.
TEST_F(WaitForEndTest, KillsChildThatItCannotDetach) {
  const pid_t pid = Fork([] {
    AskToBeTraced();
    raise(SIGTRAP);
    return 0;
  });
  WaitResult result = {Kind::kLives, 0, ExitStatus::Unknown()};
  std::thread([&] { result = WaitUntilEnded(pid); }).join();
  EXPECT_EQ(result.kind, Kind::kEnded);
  EXPECT_EQ(result.status.signal(), SIGKILL);
}

TEST_F(WaitForEndTest, AwaitEndDoesNotReturnAtAStop) {
  const pid_t pid = Fork([] {
    AskToBeTraced();
    raise(SIGTRAP);
    return 13;
  });
  const WaitResult result = AwaitEnd(pid);
  EXPECT_EQ(result.kind, Kind::kEnded);
  EXPECT_EQ(result.status.code(), 13);
  EXPECT_EQ(AwaitEnd(pid).kind, Kind::kGone);
}

TEST_F(WaitForEndTest, RecognizesUnreapedChildren) {
  for (const pid_t stranger : {1, 0, -1, static_cast<int>(getpid())}) {
    EXPECT_FALSE(IsUnreapedChild(stranger)) << stranger;
  }
  const pid_t pid = Fork([]() -> int {
    for (;;) pause();
  });
  const auto pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  for (const bool alive : {true, false}) {
    EXPECT_TRUE(IsUnreapedChild(pid));
    EXPECT_EQ(IsUnreapedChildOfPidfd(pidfd), true);
    if (!alive) continue;
    kill(pid, SIGKILL);
    AwaitChange(pid);
  }
  AwaitEnd(pid);
  EXPECT_FALSE(IsUnreapedChild(pid));
  EXPECT_EQ(IsUnreapedChildOfPidfd(pidfd), false);
  EXPECT_EQ(IsUnreapedChildOfPidfd(/*pidfd=*/-1), absl::nullopt);
  close(pidfd);
}

TEST_F(WaitForEndTest, FindsEndedChildrenWithAnotherExitSignalAlone) {
  EXPECT_EQ(AnyEndedCloneChild(), 0);
  const pid_t usual = Fork([] { return 0; });
  AwaitChange(usual);
  EXPECT_FALSE(IsEndedCloneChild(usual));
  EXPECT_EQ(AnyEndedCloneChild(), 0);
  const pid_t other = Clone(0);
  AwaitChange(other);
  EXPECT_TRUE(IsEndedCloneChild(other));
  EXPECT_EQ(AnyEndedCloneChild(), other);
  AwaitEnd(usual);
  AwaitEnd(other);
}

}  // namespace
}  // namespace brood::proc
