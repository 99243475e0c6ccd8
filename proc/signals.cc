// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"

namespace brood::proc {

absl::StatusOr<SignalInbox> SignalInbox::Create(
    std::initializer_list<int> signals) {
  sigset_t chosen;
  sigemptyset(&chosen);
  for (int signal : signals) sigaddset(&chosen, signal);

  const int fd = signalfd(-1, &chosen, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "signalfd");

  sigset_t before;
  if (sigprocmask(SIG_BLOCK, &chosen, &before) < 0) {
    const int error = errno;
    close(fd);
    return absl::ErrnoToStatus(error, "sigprocmask");
  }
  sigset_t newly_blocked = chosen;
  for (int signal : signals) {
    if (sigismember(&before, signal)) sigdelset(&newly_blocked, signal);
  }
  return SignalInbox(chosen, newly_blocked, fd);
}

SignalInbox::SignalInbox(SignalInbox&& other) noexcept
    : signals_(other.signals_),
      newly_blocked_(other.newly_blocked_),
      fd_(std::exchange(other.fd_, -1)) {}

SignalInbox::~SignalInbox() {
  if (fd_ < 0) return;
  while (TryTake()) {
  }
  sigprocmask(SIG_UNBLOCK, &newly_blocked_, nullptr);
  close(fd_);
}

absl::optional<siginfo_t> SignalInbox::TryTake() const {
  // Not read(fd_): for the real-time exit signal of a child the kernel fills
  // another layout of signalfd_siginfo, and ssi_pid stays zero.
  siginfo_t info;
  const timespec at_once = {0, 0};
  if (TEMP_FAILURE_RETRY(sigtimedwait(&signals_, &info, &at_once)) < 0) {
    return absl::nullopt;
  }
  return info;
}

}  // namespace brood::proc
