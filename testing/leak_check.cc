// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/leak_check.h"

#include <dirent.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/base/config.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "brood/testing/internal/proc_files.h"

namespace brood::testing {
namespace {

std::map<int, std::string> ListDescriptors() {
  std::map<int, std::string> descriptors;
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return descriptors;
  while (const dirent* entry = readdir(folder)) {
    int fd;
    if (!absl::SimpleAtoi(entry->d_name, &fd) || fd == dirfd(folder)) continue;
    char target[PATH_MAX];
    const ssize_t length =
        readlinkat(dirfd(folder), entry->d_name, target, sizeof(target));
    descriptors[fd].assign(target,
                           length > 0 ? static_cast<size_t>(length) : 0);
  }
  closedir(folder);
  return descriptors;
}

// Leaves out threads that are exiting: a joined thread is listed a moment
// longer.
int CountThreads() {
#ifdef ABSL_HAVE_THREAD_SANITIZER
  return 1;  // the sanitizer starts a thread of its own with our first one
#endif
  int threads = 0;
  for (pid_t thread : ThreadsOf("self")) {
    const ProcStat stat = ReadStat(absl::StrCat("/proc/self/task/", thread));
    if (!stat.name.empty() && !stat.exiting) ++threads;
  }
  return threads;
}

std::map<pid_t, std::string> ListChildren() {
  std::map<pid_t, std::string> children;
  for (pid_t child : ChildrenOf("self")) {
    const ProcStat stat = ReadStat(absl::StrCat("/proc/", child));
    children[child] =
        absl::StrCat(stat.state == 'Z' ? "a zombie, never reaped" : "alive",
                     ", ", stat.name);
  }
  return children;
}

bool HasChildren() {
  siginfo_t ignored;
  return waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT | __WALL) ==
             0 ||
         errno != ECHILD;
}

std::string NameOf(int signal) {
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? absl::StrCat("SIG", name)
                         : absl::StrCat("signal ", signal);
}

// Describes what has an effect: the mask of a handler, and of the flags of
// other actions only those for children.
std::string DescribeAction(const struct sigaction& action) {
  constexpr int kForChildren = SA_NOCLDSTOP | SA_NOCLDWAIT;
  if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
    return absl::StrCat(action.sa_handler == SIG_DFL ? "default" : "ignored",
                        ", flags 0x",
                        absl::Hex(action.sa_flags & kForChildren));
  }
  const auto handler = reinterpret_cast<uintptr_t>(action.sa_handler);
  std::string text = absl::StrCat("handled at 0x", absl::Hex(handler),
                                  ", flags 0x", absl::Hex(action.sa_flags));
  for (int signal = 1; signal < NSIG; ++signal) {
    if (sigismember(&action.sa_mask, signal) == 1) {
      absl::StrAppend(&text, ", blocks ", NameOf(signal));
    }
  }
  return text;
}

std::map<int, std::string> ListActions() {
  std::map<int, std::string> actions;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) == 0) {
      actions[signal] = DescribeAction(action);
    }
  }
  return actions;
}

}  // namespace

Census Census::Take() {
  Census census;
  census.descriptors_ = ListDescriptors();
  census.threads_ = CountThreads();
  census.children_ = ListChildren();
  census.has_children_ = HasChildren();
  pthread_sigmask(SIG_BLOCK, nullptr, &census.blocked_);
  census.actions_ = ListActions();
  return census;
}

std::vector<std::string> Census::Difference(const Census& before,
                                            const Census& after) {
  std::vector<std::string> differences;
  const auto found = [&differences](const auto&... pieces) {
    differences.push_back(absl::StrCat(pieces...));
  };

  for (const auto& [fd, target] : after.descriptors_) {
    const auto old = before.descriptors_.find(fd);
    if (old == before.descriptors_.end()) {
      found("descriptor ", fd, " was left open: ", target);
    } else if (old->second != target) {
      found("descriptor ", fd, " was ", old->second, " and is ", target);
    }
  }
  for (const auto& [fd, target] : before.descriptors_) {
    if (after.descriptors_.count(fd) == 0) {
      found("descriptor ", fd, " was closed: ", target);
    }
  }

  if (before.threads_ != after.threads_) {
    found("there were ", before.threads_, " threads and are ", after.threads_);
  }

  bool child_is_named = false;
  for (const auto& [pid, state] : after.children_) {
    if (before.children_.count(pid) != 0) continue;
    found("child ", pid, " was left: ", state);
    child_is_named = true;
  }
  if (after.has_children_ && !before.has_children_ && !child_is_named) {
    found("a child was left");
  }

  for (int signal = 1; signal < NSIG; ++signal) {
    const bool was = sigismember(&before.blocked_, signal) == 1;
    const bool is = sigismember(&after.blocked_, signal) == 1;
    if (was != is) {
      found(NameOf(signal), " was left ", is ? "blocked" : "unblocked");
    }
  }
  for (const auto& [signal, action] : after.actions_) {
    const auto old = before.actions_.find(signal);
    if (old != before.actions_.end() && old->second != action) {
      found(NameOf(signal), " was (", old->second, ") and is (", action, ")");
    }
  }
  return differences;
}

LeakCheck::~LeakCheck() {
  for (const std::string& difference :
       Census::Difference(before_, Census::Take())) {
    ADD_FAILURE() << "the test left a trace: " << difference;
  }
}

}  // namespace brood::testing
