// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/output/log_descriptor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>

#include "absl/strings/string_view.h"
#include "brood/server/log/journal.h"

namespace brood::server {
namespace {

using net::UniqueFd;

// The first lines of a stream to the journal of systemd: identifier, unit,
// priority, and whether lines have priorities of their own and are passed to
// syslog, to the log of the kernel and to the console.
constexpr absl::string_view kJournalHeader = "\n\n6\n0\n0\n0\n0\n";

// Opens the file of `fd` again, with `flags`.
UniqueFd Open(int fd, int flags) {
  char path[sizeof("/proc/self/fd/2147483647")];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  return UniqueFd::AboveStandardDescriptors(
      UniqueFd::Adopt(open(path, flags | O_CLOEXEC | O_NOCTTY)));
}

// Returns a socket that is connected to the peer of `fd`. Returns nothing if
// the peer has no name, or if connecting would block.
UniqueFd ConnectAgain(int fd) {
  int type = 0;
  socklen_t length = sizeof(type);
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) return {};
  const bool is_journal = type == SOCK_STREAM && IsJournal(fd);
  if (type != SOCK_DGRAM && !is_journal) return {};
  sockaddr_storage peer = {};
  length = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) < 0 ||
      (peer.ss_family == AF_UNIX &&
       length <= offsetof(sockaddr_un, sun_path))) {
    return {};
  }
  UniqueFd own = UniqueFd::AboveStandardDescriptors(UniqueFd::Adopt(
      socket(peer.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
  if (!own.valid() ||
      connect(own.fd(), reinterpret_cast<sockaddr*>(&peer), length) < 0) {
    return {};
  }
  if (is_journal && send(own.fd(), kJournalHeader.data(), kJournalHeader.size(),
                         MSG_DONTWAIT | MSG_NOSIGNAL) !=
                        static_cast<ssize_t>(kJournalHeader.size())) {
    return {};
  }
  return own;
}

}  // namespace

absl::optional<FileId> FileId::Of(int fd) {
  struct stat file;
  if (fstat(fd, &file) < 0) return absl::nullopt;
  return FileId{file.st_dev, file.st_ino};
}

void LogDescriptor::Copy() {
  own_ = UniqueFd::Adopt(fcntl(lent_, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

void LogDescriptor::OpenNonBlocking(bool is_pipe) {
  own_ = Open(lent_, O_WRONLY | O_NONBLOCK);
  if (own_.valid()) {
    kind_ = Kind::kNonBlocking;
    return;
  }
  kind_ = is_pipe ? Kind::kPipe : Kind::kTerminal;
  int ends[2];
  if (!is_pipe || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return;
  read_end_ = UniqueFd::AboveStandardDescriptors(UniqueFd::Adopt(ends[0]));
  write_end_ = UniqueFd::AboveStandardDescriptors(UniqueFd::Adopt(ends[1]));
}

LogDescriptor LogDescriptor::Borrow(int fd) {
  LogDescriptor log(fd);
  struct stat file;
  if (!log.file_ || fstat(fd, &file) < 0) return log;
  if (S_ISFIFO(file.st_mode) || S_ISCHR(file.st_mode)) {
    log.OpenNonBlocking(S_ISFIFO(file.st_mode));
  } else {
    log.kind_ = S_ISSOCK(file.st_mode) ? Kind::kSocket : Kind::kFile;
  }
  return log;
}

LogDescriptor LogDescriptor::OpenAgain(int fd) {
  LogDescriptor log = Borrow(fd);
  if (log.kind_ == Kind::kSocket) log.own_ = ConnectAgain(fd);
  if (log.kind_ == Kind::kFile) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_APPEND) != 0) {
      log.own_ = Open(fd, O_WRONLY | O_APPEND);
    }
  }
  if (log.kind_ != Kind::kClosed && !log.own_.valid()) log.Copy();
  return log;
}

}  // namespace brood::server
