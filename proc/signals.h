// SPDX-License-Identifier: Apache-2.0

// SignalInbox: signals as data.
//
// The chosen signals are blocked and wait in the kernel's queue; fd() turns
// readable when one is there and TryTake() takes it, at a place of the caller's
// choosing. No handler runs, so nothing is interrupted and nothing is unsafe.
//
// Lives in the parent, in the thread that made it (others must block the same
// signals). A child starts without it: Spawn gives it a clean mask, and pending
// signals are not inherited. Destroying it takes what still waits, so that
// nothing goes off late, and unblocks what it had itself blocked.
//
// Errors: Create() names the call that failed.
//
// Example:
//   absl::StatusOr<SignalInbox> inbox = SignalInbox::Create({SIGTERM, SIGINT});
//   ... poll inbox->fd() ...
//   while (absl::optional<siginfo_t> signal = inbox->TryTake()) {
//     if (signal->si_signo == SIGTERM) Drain();
//   }

#ifndef BROOD_PROC_SIGNALS_H_
#define BROOD_PROC_SIGNALS_H_

#include <csignal>
#include <initializer_list>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"

namespace brood::proc {

class SignalInbox {
 public:
  static absl::StatusOr<SignalInbox> Create(std::initializer_list<int> signals);

  SignalInbox(SignalInbox&& other) noexcept;
  SignalInbox& operator=(SignalInbox&&) = delete;
  ~SignalInbox();

  // Readable while a signal waits. Poll it; do not read it.
  int fd() const { return fd_; }

  // Takes the next signal, if there is one. Never blocks.
  absl::optional<siginfo_t> TryTake() const;

 private:
  SignalInbox(const sigset_t& signals, const sigset_t& newly_blocked, int fd)
      : signals_(signals), newly_blocked_(newly_blocked), fd_(fd) {}

  sigset_t signals_;
  sigset_t newly_blocked_;
  int fd_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_SIGNALS_H_
