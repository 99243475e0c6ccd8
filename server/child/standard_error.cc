// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/standard_error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace brood::server {
namespace {

// Makes `fd`, which is open, descriptor 2 and closes it.
void BecomeStandardError(int fd) {
  if (fd == STDERR_FILENO) return;
  dup2(fd, STDERR_FILENO);
  close(fd);
}

// The flags that the second open file takes from the first.
constexpr int kKept = O_ACCMODE | O_APPEND | O_DSYNC | O_SYNC;

void OpenAgain() {
  struct stat file;
  const int flags = fcntl(STDERR_FILENO, F_GETFL);
  if (flags < 0 || fstat(STDERR_FILENO, &file) < 0) return;
  const bool is_stream = S_ISFIFO(file.st_mode) || S_ISCHR(file.st_mode);
  // A second position in the file would overwrite what other processes have
  // written.
  const bool appends = S_ISREG(file.st_mode) && (flags & O_APPEND) != 0;
  if (!is_stream && !appends) return;
  // Without O_NONBLOCK, open() would wait for a reader of a FIFO, and for the
  // line of a terminal.
  const int fd =
      open("/proc/self/fd/2", (flags & kKept) | O_CLOEXEC | O_NOCTTY |
                                  (is_stream ? O_NONBLOCK : 0));
  if (fd < 0) return;
  if (is_stream) fcntl(fd, F_SETFL, flags & (kKept | O_NONBLOCK));
  BecomeStandardError(fd);
}

}  // namespace

absl::Status SetStandardError(ChildStderr choice, bool is_ahead) {
  switch (choice) {
    case ChildStderr::kAhead:
      if (is_ahead) OpenAgain();
      break;
    case ChildStderr::kShared:
      break;
    case ChildStderr::kOwn:
      OpenAgain();
      break;
    case ChildStderr::kNull: {
      const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
      if (fd < 0) return absl::ErrnoToStatus(errno, "open /dev/null");
      BecomeStandardError(fd);
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace brood::server
