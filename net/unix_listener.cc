// SPDX-License-Identifier: Apache-2.0

#include "brood/net/unix_listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/net/unix_file/socket_file.h"
#include "brood/net/unix_file/unix_diag.h"

namespace brood::net {
namespace {

constexpr absl::Duration kLockTimeout = absl::Seconds(1);
constexpr absl::Duration kLockPause = absl::Milliseconds(10);
// The default of net.core.somaxconn, in connections.
constexpr int kUsualQueue = 4096;

absl::Status ErrorAt(absl::string_view call, const Endpoint& endpoint) {
  const int error = errno;
  return absl::ErrnoToStatus(error,
                             absl::StrCat(call, " ", endpoint.ToString()));
}

// Locks the directory of `path` until the descriptor that it returns is closed;
// the descriptor is not valid if the lock is not available. Servers that start
// at the same moment take turns by it. Any process that may read the directory
// can hold the lock without a limit, so the wait for it has a limit; and a
// server whose user may not read the directory goes on without it.
absl::StatusOr<UniqueFd> TryToLockDirectoryOf(const std::string& path) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  UniqueFd locked = UniqueFd::Adopt(
      open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!locked.valid() && errno != EACCES) {
    return absl::ErrnoToStatus(errno, absl::StrCat("open ", directory));
  }
  // Polled, because a blocking flock has no timeout.
  const Instant deadline = After(Now(), kLockTimeout);
  while (locked.valid() && flock(locked.fd(), LOCK_EX | LOCK_NB) < 0) {
    const bool is_held = errno == EWOULDBLOCK || errno == EINTR;
    if (!is_held || Now() >= deadline) {
      locked.Close();
      break;
    }
    const timespec pause = absl::ToTimespec(kLockPause);
    nanosleep(&pause, nullptr);
  }
  return locked;
}

// Returns OK if no process listens at `endpoint` any more. A connection, if a
// process accepts one, is closed here.
absl::Status CheckUnanswered(const Endpoint& endpoint) {
  const Socket client = Socket::Adopt(
      socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!client.valid()) return ErrorAt("socket", endpoint);
  const bool connected =
      connect(client.fd(), endpoint.address(), endpoint.address_length()) == 0;
  const int error = errno;
  if (!connected && (error == ECONNREFUSED || error == ENOENT)) {
    return absl::OkStatus();
  }
  // A full queue, or a socket of another type, shows that a process listens.
  // Any other error says nothing about that.
  if (!connected && error != EAGAIN && error != EPROTOTYPE) {
    return ErrorAt("connect", endpoint);
  }
  errno = EADDRINUSE;
  absl::Status in_use = ErrorAt("bind", endpoint);
  if (connected) return in_use;
  return absl::Status(
      in_use.code(),
      absl::StrCat(in_use.message(), " (",
                   absl::ErrnoToStatus(error, "connect").message(), ")"));
}

// Removes the file of a socket on which no process listens. Called with the
// lock of the directory, if it was available.
absl::Status RemoveStale(const std::string& path, const Endpoint& endpoint) {
  struct stat file;
  if (lstat(path.c_str(), &file) < 0) {
    // Another process has removed it.
    return errno == ENOENT ? absl::OkStatus() : ErrorAt("lstat", endpoint);
  }
  if (!S_ISSOCK(file.st_mode)) {
    return absl::AlreadyExistsError(
        absl::StrCat("bind ", endpoint.ToString(),
                     ": the file is not a socket and is not removed"));
  }
  absl::Status stale = CheckUnanswered(endpoint);
  if (!stale.ok()) return stale;
  if (unlink(path.c_str()) < 0 && errno != ENOENT) {
    return ErrorAt("unlink", endpoint);
  }
  return absl::OkStatus();
}

bool Bind(const Socket& socket, const Endpoint& endpoint) {
  return bind(socket.fd(), endpoint.address(), endpoint.address_length()) == 0;
}

}  // namespace

absl::Status ListenOnUnix(const Socket& socket, const Endpoint& endpoint,
                          mode_t mode, int backlog) {
  const std::string path(endpoint.path());
  // Held until the socket listens: before that, the file looks like one that no
  // process answers.
  UniqueFd lock;
  if (!path.empty()) {
    absl::StatusOr<UniqueFd> locked = TryToLockDirectoryOf(path);
    if (!locked.ok()) return locked.status();
    lock = *std::move(locked);
    // The file that bind() creates has this mode, less the umask, from the
    // start.
    if (fchmod(socket.fd(), mode) < 0) return ErrorAt("fchmod", endpoint);
  }
  if (!Bind(socket, endpoint)) {
    if (errno != EADDRINUSE || path.empty()) return ErrorAt("bind", endpoint);
    absl::Status removed = RemoveStale(path, endpoint);
    if (!removed.ok()) return removed;
    if (!Bind(socket, endpoint)) return ErrorAt("bind", endpoint);
  }
  // A failure leaves no file behind.
  NewSocketFile file(path);
  if (!path.empty()) {
    // Restores the permissions that the umask removed. No client can connect
    // yet.
    absl::Status set = SetModeOfNewFile(path, mode);
    if (!set.ok()) return set;
  }
  if (listen(socket.fd(), backlog) < 0) return ErrorAt("listen", endpoint);
  file.Keep();
  return absl::OkStatus();
}

int QueuedOnUnix(int fd) {
  const absl::optional<UnixSocketState> state = AskAboutUnixSocket(fd);
  return state ? state->queued : kUsualQueue;
}

}  // namespace brood::net
