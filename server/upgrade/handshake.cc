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
#include "absl/strings/strip.h"
#include "brood/net/socket.h"

namespace brood::server {
namespace {

constexpr char kVariable[] = "BROOD_UPGRADE";
// What follows the entry of a listener that ends with the server.
constexpr char kBound[] = "\tbound";
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
    absl::StrAppend(&lines, listener.entry,
                    listener.ends_with_server ? kBound : "", "\n");
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
  handshake.ready_ =
      proc::Private<net::EventFd>(net::EventFd::Adopt(*std::move(ready)));
  handshake.old_program_ = getppid();
  int fd = kReadyFd;
  for (absl::string_view entry :
       absl::StrSplit(lines, '\n', absl::SkipEmpty())) {
    absl::StatusOr<net::Socket> listener = Take(++fd);
    if (!listener.ok()) return listener.status();
    const bool bound = absl::ConsumeSuffix(&entry, kBound);
    handshake.listeners_.push_back(
        {*std::move(listener), std::string(entry), bound});
  }
  return handshake;
}

std::vector<InheritedListener> Handshake::TakeListeners() {
  return std::exchange(listeners_, {});
}

void Handshake::ReportReady() {
  if (ready_.fd() < 0 || std::exchange(reported_, true)) return;
  ready_->Notify();
}

bool Handshake::IsSoleHolder() {
  if (old_program_ == 0) return true;
  const uint64_t count = ready_->Take();
  if (count < kReleased && getppid() == old_program_) {
    // Perhaps the report of readiness, which is for the old program.
    if (count > 0) ready_->Notify(count);
    return false;
  }
  old_program_ = 0;
  return true;
}

}  // namespace brood::server
