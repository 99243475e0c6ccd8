// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/line_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "absl/functional/function_ref.h"

namespace brood::server {
namespace {

// Returns whether a terminal has room. Another writer may use the room right
// after.
bool HasRoom(int fd) {
  pollfd room = {fd, POLLOUT, 0};
  return poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0;
}

// Calls `write`, without the signal that it may cause. A write that fails with
// `error` sends `signal` to the writer, and no flag prevents it: SIGPIPE for a
// pipe without a reader, SIGXFSZ for a file that has reached the limit of the
// process. So the signal is blocked, and removed if this write has caused it. A
// signal that was pending before stays pending.
ssize_t WithoutSignal(int signal, int error,
                      absl::FunctionRef<ssize_t()> write) {
  sigset_t one, before, pending;
  sigemptyset(&one);
  sigaddset(&one, signal);
  if (sigprocmask(SIG_BLOCK, &one, &before) < 0) return -1;
  sigemptyset(&pending);
  sigpending(&pending);
  const ssize_t written = write();
  const int failed = errno;
  if (written < 0 && failed == error && !sigismember(&pending, signal)) {
    const timespec at_once = {0, 0};
    TEMP_FAILURE_RETRY(sigtimedwait(&one, nullptr, &at_once));
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  errno = failed;
  return written;
}

// Returns whether this process has a limit on the size of files. Called for
// each line: another process of the user may set the limit at any time.
bool AreFilesLimited() {
  rlimit size;
  return getrlimit(RLIMIT_FSIZE, &size) == 0 && size.rlim_cur != RLIM_INFINITY;
}

ssize_t WriteOnce(int fd, absl::string_view line) {
  return TEMP_FAILURE_RETRY(write(fd, line.data(), line.size()));
}

// Removes O_DIRECT, with which each write must be a block of the disk. Returns
// whether it was set.
bool TakeAwayDirect(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DIRECT) != 0 &&
         fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

}  // namespace

ssize_t LineWriter::WriteToFile(absl::string_view line) const {
  const int fd = log_.fd();
  const auto write_once = [&] { return WriteOnce(fd, line); };
  const auto write_line = [&] {
    return AreFilesLimited() ? WithoutSignal(SIGXFSZ, EFBIG, write_once)
                             : write_once();
  };
  const ssize_t written = write_line();
  // A process that shares the open file can set O_DIRECT, so that all other
  // writers fail.
  if (written < 0 && errno == EINVAL && TakeAwayDirect(fd)) return write_line();
  return written;
}

// Does not check first whether there is room: another writer could use the
// room, and then the write would block. O_NONBLOCK is no choice, because the
// pipe is shared with processes that want to block. So the flag RWF_NOWAIT of
// the call is used.
ssize_t LineWriter::WriteToPipe(absl::string_view line) const {
  const iovec bytes = {const_cast<char*>(line.data()), line.size()};
  const ssize_t written = TEMP_FAILURE_RETRY(
      pwritev2(log_.fd(), &bytes, 1, /*offset=*/-1, RWF_NOWAIT));
  if (written >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) return written;
  return SpliceToPipe(line);
}

// Moves the line from a pipe of this writer by splice(), which does not block
// on older kernels either. A line of up to a page moves whole or not at all.
ssize_t LineWriter::SpliceToPipe(absl::string_view line) const {
  const int from = log_.read_end().fd();
  if (from < 0) return -1;
  if (WriteOnce(log_.write_end().fd(), line) <= 0) return -1;
  const ssize_t moved = TEMP_FAILURE_RETRY(splice(
      from, nullptr, log_.fd(), nullptr, line.size(), SPLICE_F_NONBLOCK));
  const int failed = errno;
  if (moved != static_cast<ssize_t>(line.size())) {
    char rest[4096];
    while (TEMP_FAILURE_RETRY(read(from, rest, sizeof(rest))) > 0) {
    }
  }
  errno = failed;
  return moved;
}

// Writes in pieces: the kernel reports that a terminal has room, and not how
// much. A pseudoterminal then has room for at least 256 bytes, of which a
// newline takes two.
ssize_t LineWriter::WriteToTerminal(absl::string_view line) const {
  constexpr size_t kPiece = 128;
  size_t written = 0;
  while (written < line.size() && HasRoom(log_.fd())) {
    const ssize_t piece = WriteOnce(log_.fd(), line.substr(written, kPiece));
    if (piece <= 0) break;
    written += static_cast<size_t>(piece);
  }
  return static_cast<ssize_t>(written);
}

bool LineWriter::Write(absl::string_view line) {
  if (!log_.IsSame()) return false;
  const int fd = log_.fd();
  ssize_t written = -1;
  switch (log_.kind()) {
    case LogDescriptor::Kind::kClosed:
      return false;
    case LogDescriptor::Kind::kFile:
      written = WriteToFile(line);
      break;
    case LogDescriptor::Kind::kSocket:
      written = TEMP_FAILURE_RETRY(
          send(fd, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
      break;
    case LogDescriptor::Kind::kTerminal:
      written = WriteToTerminal(line);
      break;
    case LogDescriptor::Kind::kNonBlocking:
      written =
          WithoutSignal(SIGPIPE, EPIPE, [&] { return WriteOnce(fd, line); });
      break;
    case LogDescriptor::Kind::kPipe:
      written =
          WithoutSignal(SIGPIPE, EPIPE, [&] { return WriteToPipe(line); });
      break;
  }
  return written == static_cast<ssize_t>(line.size());
}

}  // namespace brood::server
