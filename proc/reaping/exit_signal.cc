// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaping/exit_signal.h"

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"

namespace brood::proc {
namespace {

// The exit signals that are claimed in this process: a bit for each.
std::atomic<uint64_t> claimed_signals{0};

uint64_t BitOf(int signal) { return uint64_t{1} << (signal - 1); }

// How this process uses a real-time signal; a signal of the first kind is
// claimed first. A signal that is blocked or ignored may be so because of the
// program that started this one, so it is not in use.
enum class Disposition { kDefault, kBlocked, kIgnored, kHandled };

Disposition DispositionOf(int signal) {
  struct sigaction action;
  if (sigaction(signal, nullptr, &action) < 0) return Disposition::kHandled;
  if (action.sa_handler == SIG_IGN) return Disposition::kIgnored;
  if (action.sa_handler != SIG_DFL) return Disposition::kHandled;
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, nullptr, &blocked);
  return sigismember(&blocked, signal) == 1 ? Disposition::kBlocked
                                            : Disposition::kDefault;
}

void DoNothing(int /*signal*/) {}

}  // namespace

absl::StatusOr<ExitSignal> ExitSignal::Claim() {
  for (const Disposition accepted :
       {Disposition::kDefault, Disposition::kBlocked, Disposition::kIgnored}) {
    for (int signal = SIGRTMAX; signal >= SIGRTMIN; --signal) {
      if (DispositionOf(signal) != accepted) continue;
      if ((claimed_signals.fetch_or(BitOf(signal)) & BitOf(signal)) == 0) {
        return ExitSignal(signal);
      }
    }
  }
  return absl::ResourceExhaustedError(
      "sigaction: every real-time signal of this process is handled or is the "
      "exit signal of another server");
}

ExitSignal::ExitSignal(int number) : number_(number) {
  struct sigaction harmless = {};
  harmless.sa_handler = DoNothing;
  harmless.sa_flags = SA_RESTART;
  sigaction(number_, &harmless, &old_action_);
}

ExitSignal::ExitSignal(ExitSignal&& other) noexcept
    : number_(std::exchange(other.number_, 0)),
      old_action_(other.old_action_) {}

ExitSignal::~ExitSignal() {
  if (number_ == 0) return;
  sigaction(number_, &old_action_, nullptr);
  claimed_signals &= ~BitOf(number_);
}

}  // namespace brood::proc
