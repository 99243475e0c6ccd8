#include "brood/proc/process_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>

#include "absl/strings/string_view.h"
#include "brood/proc/close_range.h"

namespace brood::proc {
namespace {

// Lines of /proc/self/status that a piece of work can change, and that change
// for no other reason. Some are not there on older kernels.
constexpr absl::string_view kWatchedLines[] = {
    "CapAmb:", "CapBnd:", "CapEff:",  "CapInh:", "CapPrm:",     "Gid:",
    "Groups:", "NSpgid:", "NSsid:",   "Name:",   "NoNewPrivs:", "Seccomp:",
    "SigCgt:", "SigIgn:", "Threads:", "Uid:"};

bool IsWatched(absl::string_view line) {
  const absl::string_view key = line.substr(0, line.find(':') + 1);
  return std::binary_search(std::begin(kWatchedLines), std::end(kWatchedLines),
                            key);
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

bool HasChildren() {
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

// With the default disposition of SIGCHLD its flags make a difference, too, and
// are not in /proc/self/status.
bool LeavesZombies() {
  struct sigaction action = {};
  sigaction(SIGCHLD, nullptr, &action);
  return (action.sa_flags & SA_NOCLDWAIT) == 0;
}

bool IsRunning(int timer) {
  itimerval value;
  return getitimer(static_cast<__itimer_which_t>(timer), &value) != 0 ||
         value.it_value.tv_sec != 0 || value.it_value.tv_usec != 0;
}

}  // namespace

ProcessState::File ProcessState::FileAt(const char* path) {
  struct stat status;
  return stat(path, &status) == 0 ? File::From(status) : File();
}

ProcessState::ProcessState()
    : status_fd_(open("/proc/self/status", O_RDONLY | O_CLOEXEC)),
      fd_list_fd_(open("/proc/self/fd", O_PATH | O_CLOEXEC)),
      environ_(environ) {
  if (DIR* list = opendir("/proc/self/fd")) {
    descriptors_listed_ = true;
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
  directory_ = FileAt(".");
  root_ = FileAt("/");
  nice_ = getpriority(PRIO_PROCESS, 0);
  umask_ = umask(0);
  umask(umask_);
  for (char** variable = environ; variable != nullptr && *variable != nullptr;
       ++variable) {
    variables_.push_back(*variable);
    values_.emplace_back(*variable);
  }
  sigprocmask(SIG_BLOCK, nullptr, &mask_);
  leaves_zombies_ = LeavesZombies();
  kernels_word_ = KernelsWord();
  next_timer_id_ = NextTimerId();
  for (size_t i = 0; i < limits_.size(); ++i) {
    getrlimit(static_cast<__rlimit_resource_t>(i), &limits_[i]);
  }
}

ProcessState::~ProcessState() {
  if (status_fd_ >= 0) close(status_fd_);
  if (fd_list_fd_ >= 0) close(fd_list_fd_);
}

bool ProcessState::Restore() {
  sigprocmask(SIG_SETMASK, &mask_, nullptr);
  umask(umask_);
  return DescriptorsRestored() && FileAt(".") == directory_ &&
         FileAt("/") == root_ && getpriority(PRIO_PROCESS, 0) == nice_ &&
         SameEnvironment() && NoTimers() && SameLimits() && !HasChildren() &&
         LeavesZombies() == leaves_zombies_ && !kernels_word_.empty() &&
         KernelsWord() == kernels_word_;
}

// The watched lines of /proc/self/status; nothing if it can't be read.
std::string ProcessState::KernelsWord() const {
  char text[8192];
  const ssize_t size = pread(status_fd_, text, sizeof(text), 0);
  std::string watched;
  if (size <= 0) return watched;
  absl::string_view rest(text, static_cast<size_t>(size));
  while (!rest.empty()) {
    const size_t length = std::min(rest.find('\n'), rest.size() - 1) + 1;
    const absl::string_view line = rest.substr(0, length);
    if (IsWatched(line)) watched.append(line.data(), line.size());
    rest.remove_prefix(length);
  }
  return watched;
}

bool ProcessState::SameDescriptors() const {
  for (const OpenFile& known : descriptors_) {
    struct stat status;
    if (fstat(static_cast<int>(known.fd), &status) < 0 ||
        !(File::From(status) == known.file)) {
      return false;
    }
  }
  return true;
}

// Closes what is open between and above the descriptors of the first look, if
// these are not all there are: since Linux 6.2 the size of their directory is
// their number.
bool ProcessState::DescriptorsRestored() const {
  // Without the list it would be all of them, those of the worker included.
  if (!descriptors_listed_ || !SameDescriptors()) return false;
  struct stat list;
  if (fstat(fd_list_fd_, &list) == 0 &&
      static_cast<size_t>(list.st_size) == descriptors_.size()) {
    return true;
  }
  unsigned next = 0;
  for (const OpenFile& known : descriptors_) {
    if (next < known.fd) CloseRange(next, known.fd - 1);
    next = known.fd + 1;
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

}  // namespace brood::proc
