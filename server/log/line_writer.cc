#include "brood/server/log/line_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

namespace brood::server {
namespace {

// Whether a write of up to PIPE_BUF bytes finds room. Another writer may take
// that room in between, which is why this is only the second choice.
bool HasRoom(int fd) {
  pollfd room = {fd, POLLOUT, 0};
  return poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0;
}

// write() that fails with `error` sends `signal` to the writer, and there is no
// flag against it: SIGPIPE for a pipe without a reader, SIGXFSZ for a file that
// has reached the limit of the process. So the signal is blocked, and taken
// back if it came of this write; one that was pending before is not ours to
// take.
ssize_t WriteWithoutSignal(int signal, int error, int fd,
                           absl::string_view line) {
  sigset_t one, before, pending;
  sigemptyset(&one);
  sigaddset(&one, signal);
  if (sigprocmask(SIG_BLOCK, &one, &before) < 0) return -1;
  sigemptyset(&pending);
  sigpending(&pending);
  const ssize_t written =
      TEMP_FAILURE_RETRY(write(fd, line.data(), line.size()));
  if (written < 0 && errno == error && !sigismember(&pending, signal)) {
    const timespec at_once = {0, 0};
    TEMP_FAILURE_RETRY(sigtimedwait(&one, nullptr, &at_once));
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  return written;
}

// Returns whether a file of this process cannot grow without limit.
bool AreFilesLimited() {
  rlimit size;
  return getrlimit(RLIMIT_FSIZE, &size) == 0 && size.rlim_cur != RLIM_INFINITY;
}

}  // namespace

LineWriter::LineWriter(int fd) : lent_fd_(fd) {
  struct stat file;
  if (fstat(fd, &file) < 0) return;
  kind_ = S_ISSOCK(file.st_mode) ? Kind::kSocket
          : AreFilesLimited()    ? Kind::kLimitedFile
                                 : Kind::kFile;
  if (!S_ISFIFO(file.st_mode) && !S_ISCHR(file.st_mode)) return;

  kind_ = Kind::kPipe;
  char path[sizeof("/proc/self/fd/2147483647")];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  own_fd_ = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

LineWriter::~LineWriter() {
  if (own_fd_ >= 0) close(own_fd_);
}

bool LineWriter::Write(absl::string_view line) {
  ssize_t written = -1;
  switch (kind_) {
    case Kind::kClosed:
      return false;
    case Kind::kFile:
      written = TEMP_FAILURE_RETRY(write(lent_fd_, line.data(), line.size()));
      break;
    case Kind::kLimitedFile:
      written = WriteWithoutSignal(SIGXFSZ, EFBIG, lent_fd_, line);
      break;
    case Kind::kSocket:
      written = TEMP_FAILURE_RETRY(send(lent_fd_, line.data(), line.size(),
                                        MSG_DONTWAIT | MSG_NOSIGNAL));
      break;
    case Kind::kPipe:
      if (own_fd_ < 0 && !HasRoom(lent_fd_)) return false;
      written = WriteWithoutSignal(SIGPIPE, EPIPE,
                                   own_fd_ >= 0 ? own_fd_ : lent_fd_, line);
      break;
  }
  return written == static_cast<ssize_t>(line.size());
}

}  // namespace brood::server
