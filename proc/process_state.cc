// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/process_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "brood/proc/close_range.h"

namespace brood::proc {
namespace {

// Lines of /proc/self/status that a piece of work can change, and that change
// for no other reason. (Exceptions: Cpus_allowed and Mems_allowed, which an
// operator may change; each worker is then replaced once.) Older kernels do not
// have all of them.
constexpr absl::string_view kWatchedLines =
    " CapAmb: CapBnd: CapEff: CapInh: CapPrm: Cpus_allowed: Gid: Groups: "
    "Mems_allowed: NSpgid: NSsid: Name: NoNewPrivs: Seccomp: Seccomp_filters: "
    "SigBlk: SigCgt: SigIgn: SpeculationIndirectBranch: "
    "Speculation_Store_Bypass: THP_enabled: Threads: Uid: Umask: VmLck: ";
// The two of them that are restored. Most work changes neither, so that no call
// is needed.
constexpr absl::string_view kMaskLine = "\nSigBlk:";
constexpr absl::string_view kUmaskLine = "\nUmask:";

// The length of /proc/self/status is about 1500 bytes.
constexpr size_t kStatusSize = 8192;

// The flags that F_SETFL can restore.
constexpr int kSettableFlags =
    O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;

bool IsWatched(absl::string_view line) {
  const absl::string_view key = line.substr(0, line.find(':') + 1);
  return absl::StrContains(kWatchedLines, absl::StrCat(" ", key, " "));
}

// The argument of sched_getattr(2). The header of the kernel collides with that
// of C libraries that have one.
struct SchedulingAttributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t least_clamp, most_clamp;
};

// Constants of linux/ioprio.h and linux/keyctl.h, which not every system has.
constexpr int kIoPriorityOfProcess = 1;
constexpr int kGetKeyringId = 0;
constexpr int kSessionKeyring = -3;

// Reads /proc/self/status from `fd` into `buffer`. Returns its text after a
// newline, so that each line is between two newlines; empty if it cannot be
// read.
absl::string_view ReadStatus(int fd, absl::Span<char> buffer) {
  buffer[0] = '\n';
  const ssize_t size = pread(fd, &buffer[1], buffer.size() - 1, 0);
  if (size <= 0) return {};
  return {buffer.data(), static_cast<size_t>(size) + 1};
}

// Returns the number that a prctl stores at the address in its argument.
int Stored(int what) {
  int value = 0;
  return prctl(what, &value) == 0 ? value : -1;
}

// Returns the id that the kernel gives to the next POSIX timer of this process;
// -1 if it cannot be created. The kernel counts up, so a skipped id shows that
// a timer was created meanwhile.
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

// With the default disposition of SIGCHLD its flags make a difference too, and
// /proc/self/status does not show them.
bool LeavesZombies() {
  struct sigaction action = {};
  sigaction(SIGCHLD, nullptr, &action);
  return (action.sa_flags & SA_NOCLDWAIT) == 0;
}

// Reads the limit `which` of this process. The system call of the C library,
// prlimit(2), takes twice as long, because it looks up a process first.
bool ReadLimit(size_t which, bool has_filter, rlimit* limit) {
#ifdef SYS_getrlimit
  static_assert(sizeof(rlim_t) == sizeof(long), "the kernel's type");
  if (!has_filter) return syscall(SYS_getrlimit, which, limit) == 0;
#endif
  return getrlimit(static_cast<__rlimit_resource_t>(which), limit) == 0;
}

bool IsRunning(int timer) {
  itimerval value;
  return getitimer(static_cast<__itimer_which_t>(timer), &value) != 0 ||
         value.it_value.tv_sec != 0 || value.it_value.tv_usec != 0;
}

}  // namespace

// In another mount namespace, the same directory has another mount id.
ProcessState::File ProcessState::FileAt(const char* path) const {
  if (has_filter_) {
    struct stat status;
    return stat(path, &status) == 0 ? File::From(status) : File();
  }
  struct statx status = {};
  if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_MNT_ID, &status) < 0) {
    return File();
  }
  return {makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino,
          /*special=*/0, status.stx_mnt_id};
}

// For descriptors above the standard ones, looks only at what affects this
// process. The owner gets the signals of a file; /dev/null (1, 3) sends none.
ProcessState::OpenFile ProcessState::Look(unsigned fd, const File& file) {
  const int number = static_cast<int>(fd);
  const bool is_standard = number <= STDERR_FILENO;
  const bool has_owner = is_standard && file.special != makedev(1, 3);
  return {fd, file, is_standard ? fcntl(number, F_GETFD) : 0,
          fcntl(number, F_GETFL), has_owner ? fcntl(number, F_GETOWN) : 0};
}

// The open files of 0, 1 and 2 are shared with other processes, and restored
// for them as well.
bool ProcessState::PutBack(const OpenFile& known) {
  const int fd = static_cast<int>(known.fd);
  const OpenFile found = Look(known.fd, known.file);
  if (found.descriptor_flags != known.descriptor_flags) {
    fcntl(fd, F_SETFD, known.descriptor_flags);
  }
  if (found.owner != known.owner) fcntl(fd, F_SETOWN, known.owner);
  if (found.status_flags == known.status_flags) return true;
  fcntl(fd, F_SETFL, known.status_flags & kSettableFlags);
  return fcntl(fd, F_GETFL) == known.status_flags;
}

ProcessState::ProcessState()
    : status_fd_(open("/proc/self/status", O_RDONLY | O_CLOEXEC)),
      fd_list_fd_(open("/proc/self/fd", O_PATH | O_CLOEXEC)),
      oom_score_fd_(open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC)),
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
      descriptors_.push_back(
          Look(static_cast<unsigned>(fd), File::From(status)));
      descriptors_.back().is_own = IsOwn(fd);
      if (fd == fd_list_fd_) fd_list_ = File::From(status);
    }
    closedir(list);
  }
  std::sort(descriptors_.begin(), descriptors_.end(),
            [](const OpenFile& a, const OpenFile& b) { return a.fd < b.fd; });
  status_ = Status();
  status_has_umask_ =
      std::any_of(status_.begin(), status_.end(), [](const std::string& line) {
        return absl::StartsWith(line, kUmaskLine);
      });
  has_filter_ = std::find(status_.begin(), status_.end(), "\nSeccomp:\t2\n") !=
                status_.end();
  directory_ = FileAt(".");
  root_ = FileAt("/");
  nice_ = getpriority(PRIO_PROCESS, 0);
  umask_ = umask(0);
  umask(umask_);
  RecordEnvironment();
  sigprocmask(SIG_BLOCK, nullptr, &mask_);
  leaves_zombies_ = LeavesZombies();
  numbers_ = Numbers();
  next_timer_id_ = NextTimerId();
  for (size_t i = 0; i < limits_.size(); ++i) {
    ReadLimit(i, has_filter_, &limits_[i]);
  }
}

void ProcessState::RecordEnvironment() {
  if (environ == nullptr) return;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables_.push_back(*variable);
    const absl::string_view value(*variable, std::strlen(*variable) + 1);
    if (values_.empty() ||
        values_.back().begin + values_.back().content.size() != value.data()) {
      values_.push_back({value.data(), ""});
    }
    values_.back().content.append(value.data(), value.size());
  }
  variables_.push_back(nullptr);
}

ProcessState::~ProcessState() {
  if (status_fd_ >= 0) close(status_fd_);
  if (fd_list_fd_ >= 0) close(fd_list_fd_);
  if (oom_score_fd_ >= 0) close(oom_score_fd_);
}

void ProcessState::RestoreMask() {
  if (!mask_changed_) return;
  mask_changed_ = false;
  sigprocmask(SIG_SETMASK, &mask_, nullptr);
}

bool ProcessState::Restore() {
  if (!status_has_umask_) umask(umask_);  // before Linux 4.7
  // Without a filter the niceness is one of the numbers.
  return DescriptorsRestored() && FileAt(".") == directory_ &&
         FileAt("/") == root_ &&
         (!has_filter_ || getpriority(PRIO_PROCESS, 0) == nice_) &&
         SameEnvironment() && NoTimers() && SameLimits() && !HasChildren() &&
         LeavesZombies() == leaves_zombies_ && SameStatus() &&
         Numbers() == numbers_;
}

std::vector<std::string> ProcessState::Status() const {
  char buffer[kStatusSize];
  const absl::string_view text = ReadStatus(status_fd_, absl::MakeSpan(buffer));
  std::vector<std::string> watched;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin + 1);
    if (end == absl::string_view::npos) break;
    const absl::string_view line = text.substr(begin, end - begin + 1);
    if (IsWatched(line.substr(1))) watched.emplace_back(line);
    begin = end;
  }
  return watched;
}

// Compares without a copy: this is the most expensive part of a check.
bool ProcessState::SameStatus() {
  char buffer[kStatusSize];
  absl::string_view rest = ReadStatus(status_fd_, absl::MakeSpan(buffer));
  if (rest.empty()) return false;
  for (const std::string& line : status_) {
    const size_t found = rest.find(line);
    if (found != absl::string_view::npos) {
      // The second newline is the first one of the next line.
      rest.remove_prefix(found + line.size() - 1);
    } else if (absl::StartsWith(line, kUmaskLine)) {
      umask(umask_);
    } else if (absl::StartsWith(line, kMaskLine)) {
      mask_changed_ = true;
    } else {
      return false;
    }
  }
  return !status_.empty();
}

std::array<int64_t, ProcessState::kNumbers> ProcessState::Numbers() const {
  std::array<int64_t, kNumbers> numbers = {};
  // As text, of up to six characters, which no other file has.
  char score[sizeof(numbers[0])] = {};
  const bool has_score = pread(oom_score_fd_, score, sizeof(score), 0) > 0;
  std::memcpy(&numbers[0], score, sizeof(score));
  if (!has_score) numbers[0] = -1;
  if (has_filter_) return numbers;
  stack_t stack = {};
  sigaltstack(nullptr, &stack);
  SchedulingAttributes schedule = {};
  syscall(SYS_sched_getattr, 0, &schedule, sizeof(schedule), 0);
  int memory_policy = 0;
  syscall(SYS_get_mempolicy, &memory_policy, nullptr, 0, nullptr, 0);
  size_t next = 1;
  for (const int64_t number :
       {int64_t{Stored(PR_GET_PDEATHSIG)},
        int64_t{Stored(PR_GET_CHILD_SUBREAPER)},
        int64_t{prctl(PR_GET_DUMPABLE)}, int64_t{prctl(PR_GET_TIMERSLACK)},
        int64_t{prctl(PR_GET_SECUREBITS)},
        int64_t{prctl(PR_MCE_KILL_GET, 0, 0, 0, 0)},
        int64_t{personality(0xffffffff)},
        int64_t{syscall(SYS_ioprio_get, kIoPriorityOfProcess, 0)},
        int64_t{schedule.policy} << 32 | schedule.priority,
        static_cast<int64_t>(schedule.flags), int64_t{schedule.nice},
        int64_t{schedule.least_clamp} << 32 | schedule.most_clamp,
        static_cast<int64_t>(schedule.runtime), int64_t{memory_policy},
        int64_t{syscall(SYS_keyctl, kGetKeyringId, kSessionKeyring, 0)},
        static_cast<int64_t>(reinterpret_cast<intptr_t>(stack.ss_sp))}) {
    numbers[next++] = number;
  }
  return numbers;
}

bool ProcessState::IsOwn(int fd) const {
  return fd == status_fd_ || fd == fd_list_fd_ || fd == oom_score_fd_;
}

bool ProcessState::SameDescriptors() const {
  for (const OpenFile& known : descriptors_) {
    if (known.is_own) continue;
    struct stat status;
    if (fstat(static_cast<int>(known.fd), &status) < 0 ||
        !(File::From(status) == known.file) || !PutBack(known)) {
      return false;
    }
  }
  return true;
}

// Most work leaves no descriptor open, which one call shows: since Linux 6.2
// the size of /proc/self/fd is the number of descriptors.
bool ProcessState::DescriptorsRestored() const {
  // Without the list, this would close every descriptor, those of the worker
  // included.
  if (!descriptors_listed_ || !SameDescriptors()) return false;
  struct stat list;
  if (fstat(fd_list_fd_, &list) < 0 || !(File::From(list) == fd_list_)) {
    return false;
  }
  if (static_cast<size_t>(list.st_size) == descriptors_.size()) return true;
  unsigned next = 0;
  for (const OpenFile& known : descriptors_) {
    if (next < known.fd) CloseRange(next, known.fd - 1);
    next = known.fd + 1;
  }
  CloseRange(next, ~0U);
  return true;
}

// A program begins with all its variables in one block of memory, which is
// compared by one call.
bool ProcessState::SameEnvironment() const {
  if (environ != environ_) return false;
  // A handler that removes a variable moves the others, and its null pointer,
  // forward in the same array.
  const size_t size = variables_.size() * sizeof(variables_[0]);
  return (size == 0 || std::memcmp(environ, variables_.data(), size) == 0) &&
         std::all_of(values_.begin(), values_.end(), [](const Block& block) {
           return std::memcmp(block.begin, block.content.data(),
                              block.content.size()) == 0;
         });
}

bool ProcessState::NoTimers() {
  if (IsRunning(ITIMER_REAL) || IsRunning(ITIMER_VIRTUAL) ||
      IsRunning(ITIMER_PROF)) {
    return false;
  }
  if (next_timer_id_ < 0) return true;  // no POSIX timers here
  const int expected = next_timer_id_ + 1;
  next_timer_id_ = NextTimerId();
  return next_timer_id_ == expected;
}

bool ProcessState::SameLimits() const {
  for (size_t i = 0; i < limits_.size(); ++i) {
    // They have no effect since Linux 2.4 and 2.6.
    if (i == RLIMIT_LOCKS || i == RLIMIT_RSS) continue;
    rlimit limit;
    if (!ReadLimit(i, has_filter_, &limit) ||
        limit.rlim_cur != limits_[i].rlim_cur ||
        limit.rlim_max != limits_[i].rlim_max) {
      return false;
    }
  }
  return true;
}

}  // namespace brood::proc
