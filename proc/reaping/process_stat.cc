// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaping/process_stat.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace brood::proc {
namespace {

constexpr int kExitSignalField = 38;

bool IsDeadOrStuck(char state) {
  return state == 'Z' || state == 'X' || state == 'D';
}

absl::optional<ProcessStat> ReadStat(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::nullopt;
  char text[1024];
  const ssize_t size = TEMP_FAILURE_RETRY(read(fd, text, sizeof(text) - 1));
  close(fd);
  if (size <= 0) return absl::nullopt;
  text[size] = '\0';
  // The second field is the name, in parentheses, which may contain any byte,
  // parentheses too. The third is the state. Fields are separated by single
  // spaces.
  const char* field = std::strrchr(text, ')');
  if (field == nullptr) return absl::nullopt;
  ProcessStat stat = {};
  for (int number = 3; number <= kExitSignalField; ++number) {
    field = std::strchr(field + 1, ' ');
    if (field == nullptr) return absl::nullopt;
    if (number == 3) stat.state = field[1];
    if (number == 4) stat.parent = std::atoi(field + 1);
    if (number == kExitSignalField) stat.exit_signal = std::atoi(field + 1);
  }
  return stat;
}

}  // namespace

absl::optional<ProcessStat> ReadProcessStat(pid_t pid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/stat", static_cast<int>(pid));
  return ReadStat(path);
}

// Opens the list of threads only for a process whose first thread has ended and
// that has others: opendir() allocates, and this function is often called for a
// child that has ended and was not reaped yet.
Death LookAtDeath(pid_t pid) {
  const absl::optional<ProcessStat> first = ReadProcessStat(pid);
  if (!first || !IsDeadOrStuck(first->state)) return Death::kNone;
  char path[320];
  std::snprintf(path, sizeof(path), "/proc/%d/task", static_cast<int>(pid));
  // A directory has one link for each directory in it, plus "." and "..".
  struct stat tasks;
  if (stat(path, &tasks) == 0 && tasks.st_nlink == 3) {
    return first->state == 'D' ? Death::kStuck : Death::kDead;
  }
  DIR* const list = opendir(path);
  if (list == nullptr) return Death::kNone;
  Death death = Death::kDead;
  while (const dirent* const entry = readdir(list)) {
    if (entry->d_name[0] == '.') continue;
    std::snprintf(path, sizeof(path), "/proc/%d/task/%s/stat",
                  static_cast<int>(pid), entry->d_name);
    const absl::optional<ProcessStat> thread = ReadStat(path);
    if (!thread) continue;  // the thread has ended
    if (!IsDeadOrStuck(thread->state)) {
      death = Death::kNone;
      break;
    }
    if (thread->state == 'D') death = Death::kStuck;
  }
  closedir(list);
  return death;
}

}  // namespace brood::proc
