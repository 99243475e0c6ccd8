// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/signal_state/signal_state.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

namespace brood::proc {
namespace {

// The struct sigaction of the kernel, of which all zeros are SIG_DFL.
struct KernelSigaction {
  void (*handler)(int) = SIG_DFL;
  unsigned long rest[3] = {};
};

}  // namespace

bool IsIgnored(int signal) {
  KernelSigaction action;
  return syscall(SYS_rt_sigaction, signal, nullptr, &action,
                 sizeof(uint64_t)) == 0 &&
         action.handler == SIG_IGN;
}

std::vector<int> IgnoredSignals() {
  std::vector<int> ignored;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    const bool is_of_library = 31 < signal && signal < SIGRTMIN;
    if (!is_of_library && IsIgnored(signal)) ignored.push_back(signal);
  }
  return ignored;
}

// Not by sigisemptyset(): that of glibc 2.36 does not look at SIGRTMAX.
bool BlocksAnySignal() {
  sigset_t blocked;
  if (sigprocmask(SIG_BLOCK, nullptr, &blocked) < 0) return true;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    if (sigismember(&blocked, signal) == 1) return true;
  }
  return false;
}

void SetAction(int signal, void (*action)(int)) {
  KernelSigaction kernel_action;
  kernel_action.handler = action;
  syscall(SYS_rt_sigaction, signal, &kernel_action, nullptr, sizeof(uint64_t));
}

}  // namespace brood::proc
