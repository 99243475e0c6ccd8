// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "brood/proc/launch/argument_pointers.h"
#include "brood/proc/signal_state/signal_state.h"

namespace brood::proc {
namespace {

constexpr int kFirstFd = STDERR_FILENO + 1;
constexpr int kForLibraries = 8;

// LoweredLimit is a soft limit of descriptors for the lifetime of the object:
// posix_spawn() cannot set one, and the program gets the limit that this
// process has when the program is created.
class LoweredLimit {
 public:
  // Sets the limit to `soft`, but allows the descriptors below `end`, and those
  // that a program opens to find its libraries.
  LoweredLimit(const absl::optional<rlim_t>& soft, int end) {
    if (!soft || getrlimit(RLIMIT_NOFILE, &before_) < 0) return;
    const rlimit lowered = {
        std::max(*soft, static_cast<rlim_t>(end + kForLibraries)),
        before_.rlim_max};
    if (lowered.rlim_cur >= before_.rlim_cur) return;
    is_lowered_ = setrlimit(RLIMIT_NOFILE, &lowered) == 0;
  }
  LoweredLimit(const LoweredLimit&) = delete;
  LoweredLimit& operator=(const LoweredLimit&) = delete;
  ~LoweredLimit() {
    if (is_lowered_) setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_;
  bool is_lowered_ = false;
};

}  // namespace

absl::StatusOr<Child> StartProgram(const Program& program) {
  const int end = kFirstFd + static_cast<int>(program.fds.size());
  posix_spawn_file_actions_t actions;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) {
    return absl::ErrnoToStatus(error, "posix_spawn_file_actions_init");
  }
  const absl::Cleanup destroy_actions = [&] {
    posix_spawn_file_actions_destroy(&actions);
  };
  posix_spawnattr_t attributes;
  error = posix_spawnattr_init(&attributes);
  if (error != 0) return absl::ErrnoToStatus(error, "posix_spawnattr_init");
  std::vector<int> copies;
  const absl::Cleanup undo = [&] {
    for (int copy : copies) close(copy);
    posix_spawnattr_destroy(&attributes);
  };

  // First move the descriptors above the numbers that they are to get.
  for (int fd : program.fds) {
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, end);
    if (copy < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("fcntl F_DUPFD ", fd));
    }
    copies.push_back(copy);
    error = posix_spawn_file_actions_adddup2(
        &actions, copy, kFirstFd + static_cast<int>(copies.size()) - 1);
    if (error != 0) {
      return absl::ErrnoToStatus(error, "posix_spawn_file_actions_adddup2");
    }
  }
  error = posix_spawn_file_actions_addclosefrom_np(&actions, end);
  if (error != 0) {
    return absl::ErrnoToStatus(error, "posix_spawn_file_actions_addclosefrom");
  }

  sigset_t blocked, reset;
  sigemptyset(&blocked);
  for (int signal : program.blocked_signals) sigaddset(&blocked, signal);
  sigfillset(&reset);
  for (int signal : program.kept_if_ignored) {
    if (IsIgnored(signal)) sigdelset(&reset, signal);
  }
  posix_spawnattr_setsigmask(&attributes, &blocked);
  posix_spawnattr_setsigdefault(&attributes, &reset);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF |
                                            POSIX_SPAWN_SETPGROUP);

  pid_t pid;
  const LoweredLimit lowered(program.descriptors, end);
  error = posix_spawn(&pid, program.path.c_str(), &actions, &attributes,
                      ArgumentPointers(program.arguments).data(),
                      ArgumentPointers(program.environment).data());
  if (error != 0) {
    return absl::ErrnoToStatus(error,
                               absl::StrCat("posix_spawn ", program.path));
  }
  return Child::Adopt(pid);
}

}  // namespace brood::proc
