// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/spawn.h"

#include <dirent.h>
#include <linux/sched.h>
#include <stdio_ext.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "brood/proc/errors/errno_status.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/signal_state/signal_state.h"
#include "brood/proc/sync_point.h"

namespace brood::proc {
namespace {

// Reports whether the thread `tid` of this process is ending: the kernel lists
// it for a moment after it was joined, but it does not hold a lock any more.
bool IsExiting(const char* tid) {
  constexpr unsigned kExiting = 0x4;  // the kernel's PF_EXITING
  const std::string path = absl::StrCat("/proc/self/task/", tid, "/stat");
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return errno == ENOENT;
  unsigned flags = 0;
  errno = 0;
  // The name, in parentheses, may contain any byte; the flags are the ninth
  // field.
  const int read =
      std::fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %u", &flags);
  // The thread has ended while its file was read; any other error says nothing
  // about it.
  const bool is_gone = read == EOF && errno == ESRCH;
  std::fclose(file);
  return is_gone || (read == 1 && (flags & kExiting) != 0);
}

// Returns how many threads this process has; -1 if that is not known.
int CountThreads() {
  // A directory has one link for each directory in it, plus "." and "..".
  struct stat tasks;
  if (stat("/proc/self/task", &tasks) < 0) return -1;
  int threads = static_cast<int>(tasks.st_nlink) - 2;
  if (threads == 1) return threads;

  DIR* list = opendir("/proc/self/task");
  if (list == nullptr) return -1;
  threads = 0;
  while (const dirent* task = readdir(list)) {
    if (task->d_name[0] != '.' && !IsExiting(task->d_name)) ++threads;
  }
  closedir(list);
  return threads;
}

absl::Status CheckSingleThreaded() {
  // The C library clears it when the first thread is created, and sets it again
  // late or never: true is certain, and false must be checked.
  if (__libc_single_threaded) return absl::OkStatus();
  const int threads = CountThreads();
  if (threads == 1) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "spawn: only a single-threaded process may fork, and this one has ",
      threads < 0 ? "an unknown number of" : absl::StrCat(threads).c_str(),
      " threads"));
}

bool Contains(const std::vector<int>& signals, int signal) {
  return std::find(signals.begin(), signals.end(), signal) != signals.end();
}

void DropUnflushed(FILE* stream) {
  if (__fpending(stream) > 0) __fpurge(stream);
}

void FlushIfPending(FILE* stream) {
  if (__fpending(stream) > 0) std::fflush(stream);
}

// Flushes stdio and ends a child. Every child that is not killed ends here.
[[noreturn]] void Leave(int code) {
  FlushIfPending(stdout);
  FlushIfPending(stderr);
  _exit(code);
}

// The pid of this process if a Spawner created it. In a process that such a
// process forks, it is the pid of the parent, so it is compared with getpid().
// Thread-local, because a child writes to that page anyway (the kernel stores
// the id of the thread there): on another page the write would cost a page
// fault.
thread_local pid_t spawned_pid = 0;

// Ends a process that a Spawner created when it calls exit(). In every other
// process exit() continues, so that a process that the embedder forked flushes
// its files and runs its handlers. `pid` is &spawned_pid of the thread that
// spawned, which is the only thread of a child at its start.
void LeaveIfSpawned(int code, void* pid) {
  if (*static_cast<const pid_t*>(pid) == getpid()) Leave(code);
}

// Registers LeaveIfSpawned(), so that a body that calls exit() does not run the
// atexit handlers of the parent, nor destroy its static objects a second time.
// exit() calls the handlers in reverse order, so that this one comes before
// those that were registered before the first child. Registered in the parent,
// because in each child it would cost two page faults.
void GuardExit() {
  static const pid_t* guarded = nullptr;
  if (guarded == &spawned_pid) return;
  if (on_exit(LeaveIfSpawned, &spawned_pid) == 0) guarded = &spawned_pid;
}

// Reports whether `error` is that of a call that this kernel does not have, or
// that a policy refuses: the call will fail again. Other errors are those of a
// shortage.
bool IsRefusal(int error) {
  return error == EINVAL || error == ENOSYS || error == EPERM;
}

// Calls clone. The kernel writes the id of the child to `tid`, and clears it
// when the child ends: this raw call does not update the copy of the thread id
// in the C library.
long CallClone3(uint64_t flags, int exit_signal, pid_t* spawned, int* tid) {
  clone_args args = {};
  args.flags = flags | CLONE_CLEAR_SIGHAND;
  args.child_tid = reinterpret_cast<uintptr_t>(tid);
  args.parent_tid = reinterpret_cast<uintptr_t>(spawned);
  args.exit_signal = static_cast<uint64_t>(exit_signal);
  return syscall(SYS_clone3, &args, sizeof(args));
}

long CallClone(uint64_t flags, int exit_signal, pid_t* spawned, int* tid) {
  flags |= static_cast<uint64_t>(exit_signal);
#if defined(__x86_64__)
  return syscall(SYS_clone, flags, nullptr, spawned, tid, nullptr);
#else
  return syscall(SYS_clone, flags, nullptr, spawned, nullptr, tid);
#endif
}

}  // namespace

// Without the address of the thread id, only the C library can correct its copy
// in a child. Without the address of the list of robust mutexes, the kernel has
// no such list of a child: the mutexes that the child holds when it dies stay
// locked.
absl::StatusOr<CloneSpawner> CloneSpawner::Create(int exit_signal,
                                                  ChildSettings settings) {
  CloneSpawner spawner(exit_signal, std::move(settings));
  if (prctl(PR_GET_TID_ADDRESS, &spawner.tid_address_) < 0) {
    spawner.tid_address_ = nullptr;
    spawner.chosen_ = {Way::kFork, "prctl PR_GET_TID_ADDRESS", errno};
  }
  if (syscall(SYS_get_robust_list, 0, &spawner.robust_list_,
              &spawner.robust_list_size_) < 0) {
    spawner.robust_list_ = nullptr;
  }
  return spawner;
}

SpawnFallback CloneSpawner::fallback() const {
  static constexpr const char* kNames[] = {"", "clone", "clone with SIGCHLD",
                                           "fork"};
  if (chosen_.way == Way::kClone3) return {};
  return {kNames[static_cast<size_t>(chosen_.way)],
          absl::StrCat(chosen_.refused, ": ", ErrnoText(chosen_.error))};
}

absl::Status CloneSpawner::Prepare() {
  ForgetPrivateFdsOfParent();
  GuardExit();
  reset_signals_.clear();
  bool ignores_more = false;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    const bool is_ignored = IsIgnored(signal);
    if (Contains(settings_.ignored, signal)) {
      ignores_more = ignores_more || !is_ignored;
    } else if (is_ignored &&
               !Contains(settings_.ignored_as_in_parent, signal)) {
      reset_signals_.push_back(signal);
    }
  }
  changes_signals_ =
      ignores_more || !reset_signals_.empty() || BlocksAnySignal();
  return CheckSingleThreaded();
}

absl::StatusOr<SpawnedChild> CloneSpawner::Spawn(
    absl::FunctionRef<int()> body, absl::Span<const int> kept_fds) const {
  absl::Status alone = CheckSingleThreaded();
  if (!alone.ok()) return alone;

  SyncPoint("spawn: about to clone");
  const pid_t pid = Clone(0, nullptr);
  if (pid == 0) RunChild(body, kept_fds);
  SyncPoint("spawn: cloned");
  if (pid < 0) return ErrnoStatus(errno, "clone");
  return SpawnedChild(Child::Adopt(pid), std::chrono::steady_clock::now());
}

absl::StatusOr<pid_t> CloneSpawner::SpawnSibling(
    absl::FunctionRef<int()> body, pid_t* spawned,
    absl::Span<const int> kept_fds) const {
  absl::Status alone = CheckSingleThreaded();
  if (!alone.ok()) return alone;

  SyncPoint("spawn: about to clone a sibling");
  const pid_t pid = Clone(CLONE_PARENT | CLONE_PARENT_SETTID, spawned);
  if (pid == 0) RunChild(body, kept_fds);
  SyncPoint("spawn: cloned a sibling");
  if (pid < 0) return ErrnoStatus(errno, "clone");
  return pid;
}

// A process whose children have the same signals, such as a zygote, saves the
// calls that block and set them. `sets_signals_` is written to only if it
// changes: that copies its page while a child exists.
pid_t CloneSpawner::Clone(uint64_t flags, pid_t* spawned) const {
  if (chosen_.way == Way::kClone3 && !changes_signals_) {
    if (sets_signals_) sets_signals_ = false;
    const pid_t pid = CloneByWay(flags, spawned);
    if (pid >= 0 || !IsRefusal(errno)) return pid;
  }
  if (!sets_signals_) sets_signals_ = true;
  return CloneBlocked(flags, spawned);
}

// Every signal is blocked meanwhile, and until the child has set its
// dispositions: a signal that arrives in between can neither run a handler of
// the parent in the child nor end a child that must ignore it.
pid_t CloneSpawner::CloneBlocked(uint64_t flags, pid_t* spawned) const {
  sigset_t all, before;
  sigfillset(&all);
  if (sigprocmask(SIG_SETMASK, &all, &before) < 0) return -1;
  const Chosen first = chosen_;
  pid_t pid = CloneByWay(flags, spawned);
  while (pid < 0 && IsRefusal(errno) && TryNextWay()) {
    pid = CloneByWay(flags, spawned);
  }
  if (pid == 0) return 0;
  // If this way does not work either, the previous one stays chosen.
  if (pid < 0) chosen_ = first;
  // This call does not write to errno: that would cost the parent a page fault
  // after each fork.
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return pid;
}

bool CloneSpawner::TryNextWay() const {
  if (chosen_.way == Way::kClone3) {
    chosen_ = {Way::kClone, "clone3", errno};
    return true;
  }
  if (chosen_.way == Way::kClone && exit_signal_ != SIGCHLD) {
    chosen_ = {Way::kCloneWithSigchld, "clone with another exit signal", errno};
    return true;
  }
  return false;
}

// A sibling always gets the exit signal of this process. clone3 requires the
// argument 0 here, and some policies require SIGCHLD.
pid_t CloneSpawner::CloneByWay(uint64_t flags, pid_t* spawned) const {
  const bool is_sibling = (flags & CLONE_PARENT) != 0;
  const int exit_signal = is_sibling ? 0 : exit_signal_;
  flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  long pid = -1;
  switch (chosen_.way) {
    case Way::kClone3:
      pid = CallClone3(flags, exit_signal, spawned, tid_address_);
      break;
    case Way::kClone:
      pid = CallClone(flags, exit_signal, spawned, tid_address_);
      break;
    case Way::kCloneWithSigchld:
      pid = CallClone(flags, SIGCHLD, spawned, tid_address_);
      break;
    case Way::kFork:
      // The C library cannot create a sibling.
      if (is_sibling) {
        errno = ENOSYS;
      } else {
        pid = _Fork();
      }
      break;
  }
  return static_cast<pid_t>(pid);
}

// noexcept keeps an exception of the body out of the frames of the parent,
// which are below this one as a copy: they were entered with another canary,
// and so was this one.
BROOD_NO_STACK_PROTECTOR void CloneSpawner::RunChild(
    absl::FunctionRef<int()> body,
    absl::Span<const int> kept_fds) const noexcept {
  spawned_pid = tid_address_ != nullptr ? *tid_address_ : getpid();
  ClosePrivateFds(kept_fds);
  if (robust_list_ != nullptr) {
    syscall(SYS_set_robust_list, robust_list_, robust_list_size_);
  }
  // Written to only if necessary, because a write copies the page.
  DropUnflushed(stdout);
  DropUnflushed(stderr);
  JoinGroup();
  LimitDescriptors();
  SetSignals();
  SyncPoint("spawn: started");

  // The last step: functions that are called from here on have the new canary.
  if (settings_.own_stack_canary) RenewStackCanary();
  Leave(body());
}

// Neither call can fail in a process that was just created, unless a sandbox
// refuses it.
void CloneSpawner::JoinGroup() const {
  switch (settings_.group) {
    case ProcessGroup::kInherited:
      return;
    case ProcessGroup::kOwn:
      setpgid(0, 0);
      return;
    case ProcessGroup::kOwnSession:
      setsid();
      return;
  }
}

// Makes raw calls, as SetSignals() does. If the hard limit has changed since
// the settings were made, sets the soft limit alone: root would change both,
// and other users would be refused.
void CloneSpawner::LimitDescriptors() const {
  if (!settings_.descriptors) return;
  rlimit before;
  if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &*settings_.descriptors,
              &before) == 0) {
    if (before.rlim_max == settings_.descriptors->rlim_max) return;
  } else if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &before) < 0) {
    return;
  }
  before.rlim_cur = std::min(settings_.descriptors->rlim_cur, before.rlim_max);
  syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &before, nullptr);
}

// Sets the dispositions first and the mask last, so that a signal that the
// parent ignored or handled does not reach the child in between.
void CloneSpawner::SetSignals() const {
  if (!sets_signals_) return;
  if (chosen_.way != Way::kClone3) {
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
      if (!Contains(settings_.ignored_as_in_parent, signal) ||
          !IsIgnored(signal)) {
        SetAction(signal, SIG_DFL);
      }
    }
  } else {
    for (int signal : reset_signals_) SetAction(signal, SIG_DFL);
  }
  for (int signal : settings_.ignored) SetAction(signal, SIG_IGN);
  // The raw call: the call of the C library does not change its own internal
  // signals, and lies in a page of code that a child would otherwise not have
  // to map.
  const uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof(none));
}

}  // namespace brood::proc
