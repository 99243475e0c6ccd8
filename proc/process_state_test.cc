// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/process_state.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <thread>  // NOLINT(build/c++11): what a handler might start.

#include "brood/proc/reaper.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/reaper_harness.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

using ::brood::testing::ReaperHarness;

constexpr uid_t kNobody = 65534;

class ProcessStateTest : public ::brood::testing::LeakCheck {
 protected:
  // Runs `body` in a child. Returns its result.
  static int InAChild(const std::function<int()>& body) {
    ReaperHarness harness(Reaper::Ownership::kOursAlone);
    harness.Spawn(body);
    const auto ended = harness.AwaitEnded(1);
    if (ended.size() != 1 || !ended[0].status.exited()) return -1;
    return ended[0].status.code();
  }
};

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

int OpenNull() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

// Returns the lowest free descriptor.
int FreeNumber() {
  const int fd = OpenNull();
  close(fd);
  return fd;
}

TEST_F(ProcessStateTest, RestoreSucceedsIfNothingChanged) {
  EXPECT_EQ(InAChild([] {
              ProcessState pristine;
              for (int round = 0; round < 50; ++round) {
                if (!pristine.Restore()) return round;
              }
              return 100;
            }),
            100);
}

TEST_F(ProcessStateTest, RestoreSucceedsInAProgramThatHadThreads) {
  std::thread([] {}).join();
  EXPECT_EQ(InAChild([] { return ProcessState().Restore() ? 0 : 1; }), 0);
}

// The parts that are restored: Restore() succeeds, and again the next time.
TEST_F(ProcessStateTest, ClosesOpenedDescriptors) {
  EXPECT_EQ(InAChild([] {
              const int kept = dup2(STDERR_FILENO, 600);
              ProcessState pristine;
              const int hole = OpenNull();  // below the kept ones
              int ends[2];
              if (pipe(ends) < 0 || dup2(kept, 900) != 900) return 2;
              if (!pristine.Restore()) return 3;
              if (!IsOpen(kept)) return 4;
              for (int fd : {hole, ends[0], ends[1], 900}) {
                if (IsOpen(fd)) return 5;
              }
              return pristine.Restore() ? 0 : 6;
            }),
            0);
}

TEST_F(ProcessStateTest, ClosesOpenedDescriptorsWithoutCloseRange) {
  EXPECT_EQ(InAChild([] {
              ::brood::testing::RefuseCalls({SYS_close_range}, ENOSYS);
              ProcessState pristine;
              const int low = OpenNull();
              const int high = dup2(low, 900);
              const bool restored = pristine.Restore();
              return restored && !IsOpen(low) && !IsOpen(high) ? 0 : 1;
            }),
            0);
}

TEST_F(ProcessStateTest, RestoresUmaskAndSignalMaskEachTime) {
  EXPECT_EQ(InAChild([] {
              umask(027);
              ProcessState pristine;
              sigset_t all, now;
              sigfillset(&all);
              for (int work = 0; work < 3; ++work) {
                umask(0777);
                sigprocmask(SIG_BLOCK, &all, nullptr);
                if (!pristine.Restore()) return 1;
                pristine.RestoreMask();
                sigprocmask(SIG_BLOCK, nullptr, &now);
                for (int signal = 1; signal <= SIGRTMAX; ++signal) {
                  if (sigismember(&now, signal) == 1) return 2;
                }
                if (umask(027) != 027) return 3;
              }
              return 0;
            }),
            0);
}

TEST_F(ProcessStateTest, RestoresFlagsOfDescriptors) {
  EXPECT_EQ(InAChild([] {
              int ends[2];
              if (pipe2(ends, O_CLOEXEC) < 0) return 1;
              dup2(ends[0], STDIN_FILENO);
              ProcessState pristine;
              fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
              fcntl(STDIN_FILENO, F_SETOWN, getpid());
              fcntl(STDIN_FILENO, F_SETFD, FD_CLOEXEC);
              if (!pristine.Restore()) return 2;
              if (fcntl(STDIN_FILENO, F_GETFL) != O_RDONLY) return 3;
              if (fcntl(STDIN_FILENO, F_GETOWN) != 0) return 4;
              return fcntl(STDIN_FILENO, F_GETFD) == 0 ? 0 : 5;
            }),
            0);
}

// A filter that is in force before may kill the process for an unknown call.
TEST_F(ProcessStateTest, MakesNoNewCallsUnderAFilter) {
  EXPECT_EQ(InAChild([] {
              ::brood::testing::RefuseCalls({SYS_personality}, ENOSYS);
              ProcessState pristine;
              prctl(PR_SET_TIMERSLACK, 12345);
              return pristine.Restore() ? 0 : 1;
            }),
            0);
}

// Also if another part has changed.
TEST_F(ProcessStateTest, RestoreSucceedsAfterReturnToTheWorkingDirectory) {
  EXPECT_EQ(InAChild([] {
              const int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
              ProcessState pristine;
              if (chdir("/proc") < 0 || pristine.Restore()) return 1;
              if (fchdir(here) < 0) return 2;
              return pristine.Restore() ? 0 : 3;
            }),
            0);
}

// Without the list the open descriptors are not known, so that none is closed.
TEST_F(ProcessStateTest, RestoreFailsIfDescriptorsCannotBeListed) {
  EXPECT_EQ(InAChild([] {
              const int kept = OpenNull();
              ::brood::testing::RefuseCalls({SYS_openat, SYS_open}, EMFILE);
              ProcessState pristine;
              if (pristine.Restore()) return 1;
              return IsOpen(kept) && IsOpen(STDERR_FILENO) ? 0 : 2;
            }),
            0);
}

// The parts that are only compared: the process must end if they have changed.
struct Dirt {
  const char* name;
  void (*leave)();
};

// The result of leave() where it has no permission.
constexpr int kNotAllowed = 77;
void Allowed(int result) {
  if (result < 0) _exit(kNotAllowed);
}

class DirtTest : public ProcessStateTest,
                 public ::testing::WithParamInterface<Dirt> {
 protected:
  // The state that is changed below.
  static constexpr char kVariable[] = "BROOD_TEST_VARIABLE";

  static void Furnish() {
    int ends[2];
    if (pipe(ends) < 0) std::abort();
    dup2(ends[0], kPipe);
    dup2(ends[1], kPipeEnd);
    close(ends[1]);
    setenv(kVariable, "clean", 1);
    // As for Options::on_parent_death.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
  }

 public:
  static constexpr int kPipe = 700, kPipeEnd = 701;

  static void ClosePipe() { close(kPipe); }
  static void ReplacePipe() { dup2(OpenNull(), kPipe); }
  static void ReplacePipeByItsOwnKind() {
    int ends[2];
    if (pipe(ends) == 0) dup2(ends[0], kPipe);
  }
  static void CloseAndOpenAnother() {
    close(STDIN_FILENO);
    if (FreeNumber() == STDIN_FILENO) open("/", O_RDONLY | O_CLOEXEC);
  }
  static void ChangeVariable() { setenv(kVariable, "dirty", 1); }
  static void RemoveVariable() { unsetenv(kVariable); }
  static void EditVariable() { getenv(kVariable)[0] = 'C'; }
  static void Handle(int signal) {
    std::signal(signal, [](int) {});
  }
  static void StartTimer(__itimer_which_t which) {
    const itimerval late = {{0, 0}, {10000, 0}};
    setitimer(which, &late, nullptr);
  }
  static timer_t MakeTimer() {
    timer_t timer;
    sigevent silent = {};
    silent.sigev_notify = SIGEV_NONE;
    timer_create(CLOCK_REALTIME, &silent, &timer);
    return timer;
  }
  static void LeaveOneProcessor() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &allowed)) --last;
    if (CPU_COUNT(&allowed) == 1) _exit(kNotAllowed);
    CPU_CLR(last, &allowed);
    sched_setaffinity(0, sizeof(allowed), &allowed);
  }
  static void Lower(__rlimit_resource_t resource) {
    rlimit limit;
    getrlimit(resource, &limit);
    limit.rlim_cur /= 2;
    setrlimit(resource, &limit);
  }
};

TEST_P(DirtTest, DetectsChange) {
  const int code = InAChild([] {
    Furnish();
    ProcessState pristine;
    if (!pristine.Restore()) return 1;
    GetParam().leave();
    return pristine.Restore() ? 2 : 0;
  });
  if (code == kNotAllowed) GTEST_SKIP() << "only root may do this";
  EXPECT_EQ(code, 0) << "2: the change was not detected";
}

INSTANTIATE_TEST_SUITE_P(
    After, DirtTest,
    ::testing::Values(
        Dirt{"ADescriptorWasClosed", DirtTest::ClosePipe},
        Dirt{"ADescriptorWasReplaced", DirtTest::ReplacePipe},
        Dirt{"ADescriptorWasReplacedByItsOwnKind",
             DirtTest::ReplacePipeByItsOwnKind},
        Dirt{"StandardInputBecameAnother", DirtTest::CloseAndOpenAnother},
        Dirt{"Chdir", [] { Allowed(chdir("/proc")); }},
        Dirt{"Setenv", [] { setenv("BROOD_TEST_NEW", "1", 1); }},
        Dirt{"SetenvOfAnOldVariable", DirtTest::ChangeVariable},
        Dirt{"Unsetenv", DirtTest::RemoveVariable},
        Dirt{"Putenv",
             [] {
               static char text[] = "BROOD_TEST_PUT=1";
               putenv(text);
             }},
        Dirt{"AnEditInPlace", DirtTest::EditVariable},
        Dirt{"Clearenv", [] { clearenv(); }},
        Dirt{"ASignalIsHandled", [] { DirtTest::Handle(SIGUSR1); }},
        Dirt{"ASignalIsIgnored", [] { std::signal(SIGPIPE, SIG_IGN); }},
        Dirt{"ARealTimeSignalIsHandled", [] { DirtTest::Handle(SIGRTMAX); }},
        Dirt{"ChildrenAreNotToBeWaitedFor",
             [] {
               struct sigaction no_zombies = {};
               no_zombies.sa_handler = SIG_DFL;
               no_zombies.sa_flags = SA_NOCLDWAIT;
               sigaction(SIGCHLD, &no_zombies, nullptr);
             }},
        Dirt{"Alarm", [] { alarm(10000); }},
        Dirt{"ARealTimer", [] { DirtTest::StartTimer(ITIMER_REAL); }},
        Dirt{"AVirtualTimer", [] { DirtTest::StartTimer(ITIMER_VIRTUAL); }},
        Dirt{"AProfilingTimer", [] { DirtTest::StartTimer(ITIMER_PROF); }},
        Dirt{"TimerCreate", [] { DirtTest::MakeTimer(); }},
        Dirt{"TimerCreateAndDelete",
             [] { timer_delete(DirtTest::MakeTimer()); }},
        Dirt{"AResourceLimitWasLowered",
             [] { DirtTest::Lower(RLIMIT_NOFILE); }},
        Dirt{"TheLastResourceLimitWasLowered",
             [] {
               const rlimit limit = {1000000, 1000000};
               setrlimit(RLIMIT_RTTIME, &limit);
             }},
        Dirt{"AChildIsLeftRunning",
             [] {
               if (fork() != 0) return;
               // When its parent ends, the pipe ends, and so does this process.
               close(DirtTest::kPipeEnd);
               char byte;
               _exit(static_cast<int>(read(DirtTest::kPipe, &byte, 1)));
             }},
        Dirt{"AZombieIsLeft",
             [] {
               const pid_t pid = fork();
               if (pid == 0) _exit(0);
               ReaperHarness::AwaitZombie(pid);
             }},
        Dirt{"AThreadIsLeft",
             [] {
               std::thread([] {
                 for (;;) pause();
               }).detach();
             }},
        Dirt{"OneProcessorOnly", DirtTest::LeaveOneProcessor},
        Dirt{"IdleScheduling",
             [] {
               const sched_param none = {};
               Allowed(sched_setscheduler(0, SCHED_IDLE, &none));
             }},
        Dirt{"Nice", [] { Allowed(nice(1)); }},
        Dirt{"IoPriority",
             [] {
               constexpr long kIdleClass = 3L << 13;
               Allowed(static_cast<int>(
                   syscall(SYS_ioprio_set, /*who=*/1, 0, kIdleClass)));
             }},
        Dirt{"OutlivesItsParent", [] { prctl(PR_SET_PDEATHSIG, 0); }},
        Dirt{"TimerSlack", [] { prctl(PR_SET_TIMERSLACK, 12345); }},
        Dirt{"MachineCheckPolicy",
             [] {
               Allowed(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0,
                             0));
             }},
        Dirt{"NotDumpable", [] { prctl(PR_SET_DUMPABLE, 0); }},
        Dirt{"ASubreaper", [] { prctl(PR_SET_CHILD_SUBREAPER, 1); }},
        Dirt{"NoHugePages", [] { prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); }},
        Dirt{"OomScore",
             [] {
               const int fd =
                   open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
               Allowed(static_cast<int>(write(fd, "777", 3)));
               close(fd);
             }},
        Dirt{"Personality", [] { personality(ADDR_NO_RANDOMIZE); }},
        Dirt{"LockedMemory",
             // A sanitizer makes the function do nothing.
             [] {
               Allowed(static_cast<int>(
                   syscall(SYS_mlockall, MCL_CURRENT | MCL_ONFAULT)));
             }},
        Dirt{"AnotherSignalStack",
             [] {
               static char stack[1 << 16];
               const stack_t other = {stack, 0, sizeof(stack)};
               Allowed(sigaltstack(&other, nullptr));
             }},
        Dirt{"AMemoryPolicy",
             [] {
               constexpr int kLocal = 4;
               Allowed(static_cast<int>(
                   syscall(SYS_set_mempolicy, kLocal, nullptr, 0)));
             }},
        Dirt{"ASessionKeyring",
             [] {
               constexpr int kJoin = 1;
               Allowed(static_cast<int>(syscall(SYS_keyctl, kJoin, nullptr)));
             }},
        Dirt{"SecureBits", [] { Allowed(prctl(PR_SET_SECUREBITS, 1)); }},
        Dirt{"NoNewPrivileges", [] { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }},
        Dirt{"AMountNamespace", [] { Allowed(unshare(CLONE_NEWNS)); }},
        Dirt{"Setuid", [] { Allowed(setuid(kNobody)); }},
        Dirt{"Seteuid", [] { Allowed(seteuid(kNobody)); }},
        Dirt{"Setegid", [] { Allowed(setegid(kNobody)); }},
        Dirt{"Setgroups",
             [] {
               const gid_t group = kNobody;
               Allowed(setgroups(1, &group));
             }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace brood::proc
