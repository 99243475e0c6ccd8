#include "brood/proc/process_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace brood::proc {
namespace {

// The kernel's own struct sigaction begins with the handler. The raw call, for
// the C library's refuses two signals of its own.
struct KernelSigaction {
  void* handler = nullptr;
  unsigned long rest[3] = {};
};

void* HandlerOf(int signal) {
  KernelSigaction action;
  syscall(SYS_rt_sigaction, signal, nullptr, &action, sizeof(uint64_t));
  return action.handler;
}

// The number that the kernel gives to the next POSIX timer of this process; -1
// if it gives none. Counts up, so a number skipped is a timer made meanwhile.
int NextTimerId() {
  int id = -1;
  sigevent silent = {};
  silent.sigev_notify = SIGEV_NONE;
  if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &silent, &id) < 0) return -1;
  syscall(SYS_timer_delete, id);
  return id;
}

void CloseRange(unsigned first, unsigned last) {
  if (first > last) return;
  if (syscall(SYS_close_range, first, last, 0) == 0) return;
  const auto limit = static_cast<unsigned>(sysconf(_SC_OPEN_MAX));
  for (unsigned fd = first; fd <= std::min(last, limit); ++fd) {
    close(static_cast<int>(fd));
  }
}

bool HasThreads() {
  // Cleared by the C library when the first thread is made, and never set again
  // for certain: true is the quick answer.
  if (__libc_single_threaded) return false;
  // A directory has one link for each directory in it, plus "." and "..".
  struct stat tasks;
  return stat("/proc/self/task", &tasks) < 0 || tasks.st_nlink != 3;
}

bool HasChildren() {
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

bool IsRunning(int timer) {
  itimerval value;
  return getitimer(static_cast<__itimer_which_t>(timer), &value) != 0 ||
         value.it_value.tv_sec != 0 || value.it_value.tv_usec != 0;
}

}  // namespace

ProcessState::ProcessState() : environ_(environ) {
  if (DIR* list = opendir("/proc/self/fd")) {
    while (const dirent* entry = readdir(list)) {
      const int fd = std::atoi(entry->d_name);
      struct stat status;
      if (entry->d_name[0] == '.' || fd == dirfd(list) ||
          fstat(fd, &status) < 0) {
        continue;
      }
      descriptors_.push_back({static_cast<unsigned>(fd), File::From(status)});
    }
    closedir(list);
  }
  std::sort(descriptors_.begin(), descriptors_.end(),
            [](const OpenFile& a, const OpenFile& b) { return a.fd < b.fd; });
  struct stat here;
  if (stat(".", &here) == 0) directory_ = File::From(here);
  umask_ = umask(0);
  umask(umask_);
  for (char** variable = environ; variable != nullptr && *variable != nullptr;
       ++variable) {
    variables_.push_back(*variable);
    values_.emplace_back(*variable);
  }
  sigprocmask(SIG_BLOCK, nullptr, &mask_);
  for (int signal = 1; signal < NSIG; ++signal) {
    handlers_[static_cast<size_t>(signal)] = HandlerOf(signal);
  }
  next_timer_id_ = NextTimerId();
  for (size_t i = 0; i < limits_.size(); ++i) {
    getrlimit(static_cast<__rlimit_resource_t>(i), &limits_[i]);
  }
  getresuid(&user_ids_[0], &user_ids_[1], &user_ids_[2]);
  getresgid(&group_ids_[0], &group_ids_[1], &group_ids_[2]);
}

bool ProcessState::Restore() {
  sigprocmask(SIG_SETMASK, &mask_, nullptr);
  umask(umask_);
  struct stat here;
  return DescriptorsRestored() && stat(".", &here) == 0 &&
         File::From(here) == directory_ && SameEnvironment() &&
         SameDispositions() && NoTimers() && SameLimits() && SameIds() &&
         !HasThreads() && !HasChildren();
}

// Closes what is open between and above the descriptors of the first look.
bool ProcessState::DescriptorsRestored() const {
  unsigned next = 0;
  for (const OpenFile& known : descriptors_) {
    if (next < known.fd) CloseRange(next, known.fd - 1);
    next = known.fd + 1;
    struct stat status;
    if (fstat(static_cast<int>(known.fd), &status) < 0 ||
        !(File::From(status) == known.file)) {
      return false;
    }
  }
  CloseRange(next, ~0U);
  return true;
}

bool ProcessState::SameEnvironment() const {
  if (environ != environ_) return false;
  for (size_t i = 0; i < variables_.size(); ++i) {
    if (environ[i] != variables_[i] ||
        std::strcmp(environ[i], values_[i].c_str()) != 0) {
      return false;
    }
  }
  return environ == nullptr || environ[variables_.size()] == nullptr;
}

bool ProcessState::SameDispositions() const {
  for (int signal = 1; signal < NSIG; ++signal) {
    if (HandlerOf(signal) != handlers_[static_cast<size_t>(signal)]) {
      return false;
    }
  }
  return true;
}

bool ProcessState::NoTimers() {
  if (IsRunning(ITIMER_REAL) || IsRunning(ITIMER_VIRTUAL) ||
      IsRunning(ITIMER_PROF)) {
    return false;
  }
  if (next_timer_id_ < 0) return true;  // a machine without POSIX timers
  const int expected = next_timer_id_ + 1;
  next_timer_id_ = NextTimerId();
  return next_timer_id_ == expected;
}

bool ProcessState::SameLimits() const {
  for (size_t i = 0; i < limits_.size(); ++i) {
    rlimit limit;
    if (getrlimit(static_cast<__rlimit_resource_t>(i), &limit) < 0 ||
        limit.rlim_cur != limits_[i].rlim_cur ||
        limit.rlim_max != limits_[i].rlim_max) {
      return false;
    }
  }
  return true;
}

bool ProcessState::SameIds() const {
  std::array<uid_t, 3> user;
  std::array<gid_t, 3> group;
  return getresuid(&user[0], &user[1], &user[2]) == 0 && user == user_ids_ &&
         getresgid(&group[0], &group[1], &group[2]) == 0 && group == group_ids_;
}

}  // namespace brood::proc
