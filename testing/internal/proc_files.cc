// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/internal/proc_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace brood::testing {
namespace {

// PF_EXITING, a bit of the ninth field of /proc/PID/stat. The kernel sets it
// before a thread can be joined, and before the pipes of a process are closed.
constexpr unsigned kExiting = 0x4;

}  // namespace

std::string ReadProcFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t got = TEMP_FAILURE_RETRY(read(fd, piece, sizeof(piece)));
    if (got <= 0) break;
    text.append(piece, static_cast<size_t>(got));
  }
  close(fd);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

ProcStat ReadStat(const std::string& folder) {
  const std::string text = ReadProcFile(folder + "/stat");
  // The name is in parentheses, and may contain some itself.
  const size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return {};
  ProcStat stat;
  stat.name = text.substr(open + 1, close - open - 1);
  // After the name: state ppid pgrp session tty tpgid flags ...
  std::istringstream rest(text.substr(close + 1));
  long ignored;
  unsigned flags = 0;
  rest >> stat.state;
  for (int field = 0; field < 5; ++field) rest >> ignored;
  rest >> flags;
  stat.exiting = (flags & kExiting) != 0;
  return stat;
}

std::vector<pid_t> ThreadsOf(const std::string& process) {
  std::vector<pid_t> threads;
  DIR* folder = opendir(absl::StrCat("/proc/", process, "/task").c_str());
  if (folder == nullptr) return threads;
  while (const dirent* entry = readdir(folder)) {
    pid_t thread;
    if (absl::SimpleAtoi(entry->d_name, &thread)) threads.push_back(thread);
  }
  closedir(folder);
  return threads;
}

std::vector<pid_t> ChildrenOf(const std::string& process) {
  std::vector<pid_t> children;
  for (pid_t thread : ThreadsOf(process)) {
    const std::string text = ReadProcFile(
        absl::StrCat("/proc/", process, "/task/", thread, "/children"));
    for (absl::string_view number :
         absl::StrSplit(text, ' ', absl::SkipWhitespace())) {
      pid_t child;
      if (absl::SimpleAtoi(number, &child)) children.push_back(child);
    }
  }
  return children;
}

std::vector<pid_t> DescendantsOf(pid_t pid) {
  std::vector<pid_t> found;
  for (pid_t child : ChildrenOf(absl::StrCat(pid))) {
    found.push_back(child);
    for (pid_t grandchild : DescendantsOf(child)) found.push_back(grandchild);
  }
  return found;
}

std::string DescribeProcess(pid_t pid) {
  const std::string folder = absl::StrCat("/proc/", pid);
  const ProcStat stat = ReadStat(folder);
  return absl::StrCat("pid ", pid, " (", stat.name, ") state ",
                      std::string(1, stat.state), " wchan ",
                      ReadProcFile(folder + "/wchan"), " syscall ",
                      ReadProcFile(folder + "/syscall"));
}

std::vector<pid_t> ChildrenWhoseState(pid_t pid, bool (*wanted)(char)) {
  std::vector<pid_t> chosen;
  for (pid_t child : ChildrenOf(absl::StrCat(pid))) {
    const ProcStat stat = ReadStat(absl::StrCat("/proc/", child));
    if (!stat.name.empty() && wanted(stat.state)) chosen.push_back(child);
  }
  return chosen;
}

}  // namespace brood::testing
