#include "brood/server/upgrade/handshake.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace brood::server {
namespace {

constexpr char kVariable[] = "BROOD_UPGRADE";
// What proc::Program counts from. The listeners follow.
constexpr int kReadyFd = STDERR_FILENO + 1;

// Takes what the variable speaks of.
absl::StatusOr<net::Socket> Take(int fd) {
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) return net::Socket::Adopt(fd);
  const int error = errno;
  return absl::InvalidArgumentError(
      absl::StrCat(kVariable, ": it speaks of descriptor ", fd,
                   ", which this program was not given: ",
                   absl::ErrnoToStatus(error, "fcntl").message()));
}

}  // namespace

bool Predecessor::Expected() { return getenv(kVariable) != nullptr; }

absl::StatusOr<Predecessor> Predecessor::Find() {
  if (!Expected()) return Predecessor();
  const std::string lines = getenv(kVariable);
  unsetenv(kVariable);

  Predecessor predecessor;
  absl::StatusOr<net::Socket> ready = Take(kReadyFd);
  if (!ready.ok()) return ready.status();
  predecessor.ready_ = *std::move(ready);
  int fd = kReadyFd;
  for (absl::string_view entry :
       absl::StrSplit(lines, '\n', absl::SkipEmpty())) {
    absl::StatusOr<net::Socket> listener = Take(++fd);
    if (!listener.ok()) return listener.status();
    predecessor.listeners_.push_back(
        {*std::move(listener), std::string(entry)});
  }
  return predecessor;
}

void Predecessor::Introduce(int ready_fd,
                            const std::vector<HandedListener>& listeners,
                            proc::Program* program) {
  std::string lines;
  program->fds = {ready_fd};
  for (const HandedListener& listener : listeners) {
    absl::StrAppend(&lines, listener.entry, "\n");
    program->fds.push_back(listener.fd);
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!absl::StartsWith(*variable, absl::StrCat(kVariable, "="))) {
      program->environment.emplace_back(*variable);
    }
  }
  program->environment.push_back(absl::StrCat(kVariable, "=", lines));
}

std::vector<HandedListener> Predecessor::TakeListeners() {
  std::vector<HandedListener> taken;
  for (Listener& listener : listeners_) {
    taken.push_back(
        {std::move(listener.socket).Release(), std::move(listener.entry)});
  }
  listeners_.clear();
  return taken;
}

void Predecessor::SayReady() {
  if (!ready_.valid()) return;
  eventfd_write(ready_.fd(), 1);
  ready_.Close();
}

}  // namespace brood::server
