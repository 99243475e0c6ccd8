// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_EXIT_SIGNAL_H_
#define BROOD_PROC_REAPING_EXIT_SIGNAL_H_

#include <csignal>

#include "absl/status/statusor.h"

namespace brood::proc {

// ExitSignal is a real-time signal by which the kernel notifies one reaper of
// this process when its children end.
//
// The signal gets a handler that does nothing. If the embedder has a thread in
// which it is not blocked, a notice may be lost there (a sweep finds the
// child), but it does not end the process, which is the default action of a
// real-time signal.
//
// Lives in the parent. A resource: it is moved, never copied. Claim() and the
// destructor are thread-safe.
//
// Example:
//   absl::StatusOr<ExitSignal> signal = ExitSignal::Claim();
class ExitSignal {
 public:
  // Claims the highest real-time signal that is neither handled nor claimed in
  // this process. Returns ResourceExhausted if there is none.
  static absl::StatusOr<ExitSignal> Claim();
  // Takes over the claim of `other`.
  ExitSignal(ExitSignal&& other) noexcept;
  ExitSignal& operator=(ExitSignal&&) = delete;
  // Restores the action that the signal had, and ends the claim.
  ~ExitSignal();

  // Returns the number of the signal.
  int number() const { return number_; }
  // Keeps the claim and the handler until this process exits, because a child
  // that was given up sends the signal when it ends.
  void KeepUntilExit() { number_ = 0; }

 private:
  // Owns the claim of the signal `number`, which Claim() has made, and sets the
  // handler.
  explicit ExitSignal(int number);

  // 0 if this object has no claim any more.
  int number_;
  struct sigaction old_action_ = {};
};

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_EXIT_SIGNAL_H_
