// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_EXIT_SIGNAL_H_
#define BROOD_PROC_REAPING_EXIT_SIGNAL_H_

#include <csignal>

#include "absl/status/statusor.h"

namespace brood::proc {

// ExitSignal is a real-time signal of this process by which one reaper is
// notified of its children's ends.
//
// It has a handler that does nothing: if the embedder has a thread where it is
// not blocked, a notice is lost there (a sweep finds the child), but it must
// not end the process, as a real-time signal does by default.
//
// Process: the parent. Claiming and releasing are thread-safe.
//
// Example:
//   absl::StatusOr<ExitSignal> signal = ExitSignal::Claim();
class ExitSignal {
 public:
  // Claims the highest real-time signal that is neither handled nor claimed in
  // this process. Returns ResourceExhausted if there is none.
  static absl::StatusOr<ExitSignal> Claim();
  ExitSignal(ExitSignal&& other) noexcept;
  ExitSignal& operator=(ExitSignal&&) = delete;
  // Restores the action that the signal had, and releases it.
  ~ExitSignal();

  int number() const { return number_; }
  // Keeps the claim and the handler until this process ends: a child that was
  // left behind sends the signal when it ends.
  void KeepForEver() { number_ = 0; }

 private:
  explicit ExitSignal(int number);

  // 0 if it was moved to another object.
  int number_;
  struct sigaction old_action_ = {};
};

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_EXIT_SIGNAL_H_
