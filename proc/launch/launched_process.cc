// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/launch/launched_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>

#include "absl/base/attributes.h"
#include "brood/proc/hardening/stack_canary.h"
#include "brood/proc/launch/launch_area.h"
#include "brood/proc/launch/raw_call.h"

// Marks each function of this file: it has no stack canary and no checks of a
// sanitizer, all of which use the thread-local memory of the parent.
#define BROOD_IN_SHARED_MEMORY                                            \
  BROOD_NO_STACK_PROTECTOR ABSL_ATTRIBUTE_NO_SANITIZE_ADDRESS             \
      ABSL_ATTRIBUTE_NO_SANITIZE_MEMORY ABSL_ATTRIBUTE_NO_SANITIZE_THREAD \
          ABSL_ATTRIBUTE_NO_SANITIZE_UNDEFINED

namespace brood::proc {
namespace {

// ExitCode::kSystemRefused, which this layer does not know.
constexpr int kExitCode = 111;

// The struct sigaction of the kernel, of which all zeros are SIG_DFL.
struct KernelSigaction {
  unsigned long handler;
  unsigned long rest[3];
};

constexpr size_t kSignalMaskSize = sizeof(uint64_t);

BROOD_IN_SHARED_MEMORY void SetActions(uint64_t signals, unsigned long action) {
  KernelSigaction kernel_action = {action, {0, 0, 0}};
  for (int signal = 1; signals != 0; ++signal, signals >>= 1) {
    if ((signals & 1) == 0) continue;
    RawCall(SYS_rt_sigaction, signal, AsArgument(&kernel_action), 0,
            kSignalMaskSize);
  }
}

// Sets the limit of the orders. A hard limit that has changed since they were
// made stays as it is.
BROOD_IN_SHARED_MEMORY void LimitDescriptors(const LaunchOrders& orders) {
  if (!orders.limits_descriptors) return;
  rlimit now = {0, 0};
  if (RawCall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, AsArgument(&now)) < 0) return;
  const rlim_t soft = orders.descriptors.rlim_cur;
  now.rlim_cur = soft < now.rlim_max ? soft : now.rlim_max;
  RawCall(SYS_prlimit64, 0, RLIMIT_NOFILE, AsArgument(&now), 0);
}

// Gives the connection its numbers, and makes execve() close the rest. Returns
// the call that failed, with its result in `*result`; null if none did.
BROOD_IN_SHARED_MEMORY const char* PlaceDescriptors(const LaunchOrders& orders,
                                                    long* result) {
  unsigned first_closed = STDERR_FILENO + 1;
  for (int i = 0; i < orders.target_count; ++i) {
    const int target = orders.targets[i];
    *result = orders.connection == target
                  ? RawCall(SYS_fcntl, target, F_SETFD, 0)
                  : RawCall(SYS_dup3, orders.connection, target, 0);
    if (*result < 0) return "dup3 for ";
    if (target >= static_cast<int>(first_closed)) first_closed = target + 1U;
  }
  *result = RawCall(SYS_close_range, first_closed, ~0U, CLOSE_RANGE_CLOEXEC);
  return *result < 0 ? "close_range for " : nullptr;
}

// Executes the program. Returns the call that failed, with its result in
// `*result`.
BROOD_IN_SHARED_MEMORY const char* Execute(const LaunchOrders& orders,
                                           long* result) {
  // Without an effect if the process is in a session of its own already.
  if (orders.begins_session) {
    RawCall(SYS_setsid);
  } else if (orders.begins_group) {
    RawCall(SYS_setpgid, 0, 0);
  }
  if (orders.dies_with != 0) {
    *result = RawCall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    if (*result < 0) return "prctl PR_SET_PDEATHSIG for ";
    // Read after the call, so that a parent that ended before it is noticed.
    if (RawCall(SYS_getppid) != orders.dies_with) RawCall(SYS_exit, kExitCode);
  }
  LimitDescriptors(orders);
  if (orders.directory != nullptr) {
    *result = RawCall(SYS_chdir, AsArgument(orders.directory));
    if (*result < 0) return "chdir for ";
  }
  const char* const failed = PlaceDescriptors(orders, result);
  if (failed != nullptr) return failed;
  SetActions(orders.default_signals, 0);
  SetActions(orders.ignored_signals, 1);
  // Last, because a signal that arrived meanwhile ends this process here.
  const uint64_t none = 0;
  RawCall(SYS_rt_sigprocmask, SIG_SETMASK, AsArgument(&none), 0,
          kSignalMaskSize);
  *result =
      RawCall(SYS_execve, AsArgument(orders.path), AsArgument(orders.arguments),
              AsArgument(orders.environment));
  return "the program cannot be executed: execve ";
}

BROOD_IN_SHARED_MEMORY int64_t NowInMs() {
  timespec now = {0, 0};
  RawCall(SYS_clock_gettime, CLOCK_MONOTONIC, AsArgument(&now));
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

// Closes every descriptor but the connection: the parent's listeners and logs
// must not stay open in this process.
BROOD_IN_SHARED_MEMORY void KeepOnlyTheConnection(const LaunchOrders& orders) {
  const auto kept = static_cast<unsigned>(orders.connection);
  if (kept > 0) RawCall(SYS_close_range, 0, kept - 1, 0);
  RawCall(SYS_close_range, kept + 1, ~0U, 0);
}

// Closes this side of the connection, and discards what the client still sends
// until it closes its side: otherwise the kernel would reset the connection.
BROOD_IN_SHARED_MEMORY void Linger(const LaunchOrders& orders) {
  char discarded[512];
  const int64_t deadline = NowInMs() + orders.linger_ms;
  RawCall(SYS_shutdown, orders.connection, SHUT_WR);
  for (int64_t left = orders.linger_ms; left > 0; left = deadline - NowInMs()) {
    pollfd ready = {orders.connection, POLLIN, 0};
    const timespec timeout = {static_cast<time_t>(left / 1000),
                              static_cast<long>(left % 1000 * 1000000)};
    if (RawCall(SYS_ppoll, AsArgument(&ready), 1, AsArgument(&timeout)) <= 0) {
      return;
    }
    const long read = RawCall(SYS_read, orders.connection,
                              AsArgument(discarded), sizeof(discarded));
    if (read <= 0 && read != -EINTR) return;
  }
}

}  // namespace

BROOD_IN_SHARED_MEMORY void RunLaunchedProcess(void* argument) {
  auto* const area = static_cast<LaunchArea*>(argument);
  long result = 0;
  area->failed_call = Execute(area->orders, &result);
  area->error = static_cast<int>(-result);
  KeepOnlyTheConnection(area->orders);
  Linger(area->orders);
  for (;;) RawCall(SYS_exit_group, kExitCode);
}

}  // namespace brood::proc
