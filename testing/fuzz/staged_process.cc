// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/fuzz/staged_process.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "brood/testing/fuzz/require.h"

namespace brood::testing {
namespace {

constexpr int kOutOfReach = 100;

int MoveOutOfReach(int fd) {
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, kOutOfReach);
  Require(moved >= 0, "a descriptor can be moved");
  close(fd);
  return moved;
}

// Returns the flags of the descriptor; -1 for a free number.
int FlagsOf(int fd) { return fcntl(fd, F_GETFD); }

bool AllAre(int flags, int first, int count) {
  for (int fd = first; fd < first + count; ++fd) {
    if (FlagsOf(fd) != flags) return false;
  }
  return true;
}

}  // namespace

StagedProcess::StagedProcess(std::vector<std::string> environment)
    : environment_(std::move(environment)), environment_before_(environ) {
  static const int event = MoveOutOfReach(eventfd(0, EFD_NONBLOCK));
  for (int fd = kFirst; fd <= kFree; ++fd) {
    const int flags = FlagsOf(fd);
    if (flags >= 0) before_[fd - kFirst] = {MoveOutOfReach(fd), flags};
  }
  for (int fd = kFirst; fd < kFree; ++fd) {
    Require(dup2(event, fd) == fd, "a number can be occupied");
  }
  for (std::string& entry : environment_) entries_.push_back(entry.data());
  entries_.push_back(nullptr);
  // Not by setenv(), which keeps the memory of every value.
  environ = entries_.data();
}

StagedProcess::~StagedProcess() {
  environ = environment_before_;
  for (int fd = kFirst; fd <= kFree; ++fd) {
    close(fd);
    const Before& before = before_[fd - kFirst];
    if (before.fd < 0) continue;
    dup2(before.fd, fd);
    fcntl(fd, F_SETFD, before.flags);
    close(before.fd);
  }
}

bool StagedProcess::AreUntouched(int first, int count) {
  return AllAre(0, first, count);
}

bool StagedProcess::AreTaken(int first, int count) {
  return AllAre(FD_CLOEXEC, first, count);
}

bool StagedProcess::AreClosed(int first, int count) {
  return AllAre(-1, first, count);
}

}  // namespace brood::testing
