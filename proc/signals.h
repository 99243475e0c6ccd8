// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_SIGNALS_H_
#define BROOD_PROC_SIGNALS_H_

#include <csignal>
#include <initializer_list>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"

namespace brood::proc {

// SignalInbox: signals as data, read by the caller instead of a handler.
//
// The signals are blocked and wait in the kernel's queue: fd() becomes readable
// when a signal arrives, and TryTake() returns it. No handler runs, so no code
// of the program is interrupted.
//
// Lives in the parent, in the thread that created it; other threads must block
// the same signals. A resource: it is moved, never copied. A child starts
// without it: Spawn() resets the mask, and pending signals are not inherited.
//
// Errors: Create() names the call that failed.
//
// Example:
//   absl::StatusOr<SignalInbox> inbox = SignalInbox::Create({SIGTERM, SIGINT});
//   ... poll inbox->fd() ...
//   while (absl::optional<siginfo_t> signal = inbox->TryTake()) {
//     if (signal->si_signo == SIGTERM) Drain();
//   }
class SignalInbox {
 public:
  // Blocks `signals` in this thread, and returns an inbox for them.
  static absl::StatusOr<SignalInbox> Create(std::initializer_list<int> signals);

  // Takes over the signals of `other`, which then has none.
  SignalInbox(SignalInbox&& other) noexcept;
  SignalInbox& operator=(SignalInbox&&) = delete;
  // Discards the signals that wait, so that none is delivered later, and
  // unblocks those that Create() had blocked.
  ~SignalInbox();

  // Lends a descriptor that is readable while a signal waits. Poll it; do not
  // read it.
  int fd() const { return fd_; }

  // Returns the next signal, if there is one. Never blocks.
  absl::optional<siginfo_t> TryTake() const;

 private:
  // Takes ownership of `fd`, a signalfd for `signals`. The destructor unblocks
  // `newly_blocked`.
  SignalInbox(const sigset_t& signals, const sigset_t& newly_blocked, int fd)
      : signals_(signals), newly_blocked_(newly_blocked), fd_(fd) {}

  sigset_t signals_;
  sigset_t newly_blocked_;
  int fd_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_SIGNALS_H_
