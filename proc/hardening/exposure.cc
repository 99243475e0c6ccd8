// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/hardening/exposure.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>

namespace brood::proc {
namespace {

constexpr char kOomScore[] = "/proc/self/oom_score_adj";

}  // namespace

absl::Status CloseToOthers() {
  if (prctl(PR_SET_DUMPABLE, 0) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "prctl PR_SET_DUMPABLE");
}

int SetOomScore(int adjustment) {
  const int fd = open(kOomScore, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  char text[16];
  const std::to_chars_result end =
      std::to_chars(text, text + sizeof(text), adjustment);
  const ssize_t size = end.ptr - text;
  const int error =
      write(fd, text, static_cast<size_t>(size)) == size ? 0 : errno;
  close(fd);
  return error;
}

int OomScore() {
  const int fd = open(kOomScore, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[16];
  const ssize_t size = read(fd, text, sizeof(text));
  close(fd);
  int score = 0;
  if (size > 0) std::from_chars(text, text + size, score);
  return score;
}

// The kernel checks the permission when the file is opened.
absl::Status CheckOomScore() {
  const int fd = open(kOomScore, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, kOomScore);
  close(fd);
  return absl::OkStatus();
}

}  // namespace brood::proc
