// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/handshake.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "brood/net/socket.h"

namespace brood::server {
namespace {

constexpr char kVariable[] = "BROOD_UPGRADE";
// The first number that proc::Program gives. The listeners follow.
constexpr int kReadyFd = STDERR_FILENO + 1;

// Takes ownership of a descriptor that the variable implies.
absl::StatusOr<net::Socket> Take(int fd) {
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) return net::Socket::Adopt(fd);
  const int error = errno;
  return absl::InvalidArgumentError(
      absl::StrCat(kVariable, ": it speaks of descriptor ", fd,
                   ", which this program was not given: ",
                   absl::ErrnoToStatus(error, "fcntl").message()));
}

}  // namespace

void Handshake::Send(int ready_fd, const std::vector<LentListener>& listeners,
                     proc::Program* program) {
  std::string lines;
  program->fds = {ready_fd};
  for (const LentListener& listener : listeners) {
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

bool Handshake::IsPending() { return getenv(kVariable) != nullptr; }

absl::StatusOr<Handshake> Handshake::Receive() {
  if (!IsPending()) return Handshake();
  const std::string lines = getenv(kVariable);
  unsetenv(kVariable);

  Handshake handshake;
  absl::StatusOr<net::Socket> ready = Take(kReadyFd);
  if (!ready.ok()) return ready.status();
  handshake.ready_ = net::EventFd::Adopt(*std::move(ready));
  int fd = kReadyFd;
  for (absl::string_view entry :
       absl::StrSplit(lines, '\n', absl::SkipEmpty())) {
    absl::StatusOr<net::Socket> listener = Take(++fd);
    if (!listener.ok()) return listener.status();
    handshake.listeners_.push_back({*std::move(listener), std::string(entry)});
  }
  return handshake;
}

std::vector<InheritedListener> Handshake::TakeListeners() {
  return std::exchange(listeners_, {});
}

void Handshake::ReportReady() {
  if (ready_.fd() < 0) return;
  ready_.Notify();
  ready_ = net::EventFd();
}

}  // namespace brood::server
