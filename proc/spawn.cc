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
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"

namespace brood::proc {
namespace {

// Whether thread `tid` of this process is on its way out: it is listed for a
// moment after it was joined, but holds no lock any more.
bool IsExiting(const char* tid) {
  constexpr unsigned kExiting = 0x4;  // the kernel's PF_EXITING
  const std::string path = absl::StrCat("/proc/self/task/", tid, "/stat");
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return errno == ENOENT;
  unsigned flags = 0;
  // The name, in parentheses, may hold anything; the flags are the ninth field.
  const int read =
      std::fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %u", &flags);
  std::fclose(file);
  return read == EOF || (read == 1 && (flags & kExiting) != 0);
}

// How many threads this process has; -1 if that can't be known.
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
  // Cleared by the C library when the first thread is made, and set again at
  // best late: true is certain, false is worth a second look.
  if (__libc_single_threaded) return absl::OkStatus();
  const int threads = CountThreads();
  if (threads == 1) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "spawn: only a single-threaded process may fork, and this one has ",
      threads < 0 ? "an unknown number of" : absl::StrCat(threads).c_str(),
      " threads"));
}

// The kernel's own struct sigaction, as far as it matters: zeroed it is
// SIG_DFL. The C library's calls refuse two signals of its own (32 and 33),
// which a parent that ignores all there are (a sandbox does) hands down like
// the others.
struct KernelSigaction {
  void (*handler)(int) = SIG_DFL;
  unsigned long rest[3] = {};
};

bool IsIgnored(int signal) {
  KernelSigaction action;
  return syscall(SYS_rt_sigaction, signal, nullptr, &action,
                 sizeof(uint64_t)) == 0 &&
         action.handler == SIG_IGN;
}

void SetDefault(int signal) {
  const KernelSigaction action;
  syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof(uint64_t));
}

void DropUnflushed(FILE* stream) {
  if (__fpending(stream) > 0) __fpurge(stream);
}

void FlushIfPending(FILE* stream) {
  if (__fpending(stream) > 0) std::fflush(stream);
}

}  // namespace

absl::StatusOr<Spawner> Spawner::Create(int exit_signal) {
  Spawner spawner(exit_signal);
  if (prctl(PR_GET_TID_ADDRESS, &spawner.tid_address_) < 0) {
    return absl::ErrnoToStatus(errno, "prctl PR_GET_TID_ADDRESS");
  }
  if (syscall(SYS_get_robust_list, 0, &spawner.robust_list_,
              &spawner.robust_list_size_) < 0) {
    return absl::ErrnoToStatus(errno, "get_robust_list");
  }
  // Arguments too short to mean anything: EINVAL where clone3 exists, another
  // error (ENOSYS, a container's EPERM) where it can't be used.
  spawner.has_clear_sighand_ =
      syscall(SYS_clone3, nullptr, size_t{0}) < 0 && errno == EINVAL;
  return spawner;
}

void Spawner::Hide(int fd) {
  const auto hidden = static_cast<unsigned>(fd);
  hidden_.insert(std::upper_bound(hidden_.begin(), hidden_.end(), hidden),
                 hidden);
  JoinHidden();
}

void Spawner::Unhide(int fd) {
  hidden_.erase(
      std::remove(hidden_.begin(), hidden_.end(), static_cast<unsigned>(fd)),
      hidden_.end());
  JoinHidden();
}

void Spawner::JoinHidden() {
  hidden_ranges_.clear();
  for (unsigned fd : hidden_) {
    if (!hidden_ranges_.empty() && hidden_ranges_.back().last + 1 == fd) {
      hidden_ranges_.back().last = fd;
    } else {
      hidden_ranges_.push_back({fd, fd});
    }
  }
}

absl::Status Spawner::Prepare() {
  ignored_signals_.clear();
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    if (IsIgnored(signal)) ignored_signals_.push_back(signal);
  }
  return CheckSingleThreaded();
}

absl::StatusOr<Child> Spawner::Spawn(absl::FunctionRef<int()> body) const {
  absl::Status alone = CheckSingleThreaded();
  if (!alone.ok()) return alone;

  const pid_t pid = Clone();
  if (pid == 0) LiveAsChild(body);
  if (pid < 0) return absl::ErrnoToStatus(errno, "clone");
  return Child::Adopt(pid);
}

// As fork() does it, but with an exit signal of our own. The raw call leaves
// the C library's copy of the thread id alone, so the kernel is told to write
// the child's id there, and to clear it when the child ends.
pid_t Spawner::Clone() const {
  if (has_clear_sighand_) {
    // The child is born with every handler reset. There is no moment at which a
    // signal could run a handler of the parent's in it, so none need be
    // blocked.
    clone_args args = {};
    args.flags =
        CLONE_CLEAR_SIGHAND | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    args.child_tid = reinterpret_cast<uintptr_t>(tid_address_);
    args.exit_signal = static_cast<uint64_t>(exit_signal_);
    return static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof(args)));
  }
  // Between its birth and its first reset a child here has the parent's
  // handlers; with every signal blocked nothing can run them.
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  const auto flags = static_cast<unsigned long>(
      CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | exit_signal_);
#if defined(__x86_64__)
  const long pid =
      syscall(SYS_clone, flags, nullptr, nullptr, tid_address_, nullptr);
#else
  const long pid =
      syscall(SYS_clone, flags, nullptr, nullptr, nullptr, tid_address_);
#endif
  if (pid != 0) {
    const int error = errno;
    sigprocmask(SIG_SETMASK, &before, nullptr);
    errno = error;
  }
  return static_cast<pid_t>(pid);
}

// From here on we are the child. noexcept is the wall that keeps an exception
// of the body out of the parent's frames, which lie copied below this one.
void Spawner::LiveAsChild(absl::FunctionRef<int()> body) const noexcept {
  for (const FdRange& range : hidden_ranges_) {
    // close_range is Linux 5.9 and may be refused; what it does is no more.
    if (syscall(SYS_close_range, range.first, range.last, 0) < 0) {
      for (unsigned fd = range.first; fd <= range.last; ++fd) {
        close(static_cast<int>(fd));
      }
    }
  }
  syscall(SYS_set_robust_list, robust_list_, robust_list_size_);
  // Touched only if need be: a page that is written is a page that is copied.
  DropUnflushed(stdout);
  DropUnflushed(stderr);
  ResetSignals();

  const int code = body();

  FlushIfPending(stdout);
  FlushIfPending(stderr);
  _exit(code);
}

// Dispositions first, the mask last: nothing that was ignored or handled by the
// parent can get at the child in between.
void Spawner::ResetSignals() const {
  if (!has_clear_sighand_) {
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
      SetDefault(signal);
    }
  } else {
    for (int signal : ignored_signals_) SetDefault(signal);
  }
  // The raw call: the C library's leaves its own internal signals as they are,
  // and lies in a page of code that a child would otherwise not have to map.
  const uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof(none));
}

}  // namespace brood::proc
