// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/launch/launcher.h"

#include <linux/close_range.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <cstring>
#include <utility>

#include "absl/types/span.h"
#include "brood/proc/errors/errno_status.h"
#include "brood/proc/launch/argument_pointers.h"
#include "brood/proc/launch/launched_process.h"
#include "brood/proc/launch/raw_call.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/signal_state/signal_state.h"

namespace brood::proc {
namespace {

constexpr int kSignals = 64;

uint64_t BitOf(int signal) { return uint64_t{1} << (signal - 1); }

bool Contains(const std::vector<int>& signals, int signal) {
  return std::find(signals.begin(), signals.end(), signal) != signals.end();
}

// Reports whether the kernel has the call that closes the other descriptors of
// a program. Has no effect: no descriptor has the highest number.
bool CanCloseOnExec() {
  return syscall(SYS_close_range, ~0U, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
}

// Reports whether errno means that the kernel, or a sandbox, does not create
// processes in this way.
bool IsRefusal(int error) {
  return error == EINVAL || error == ENOSYS || error == EPERM;
}

}  // namespace

struct Launcher::Shared {
  // Copies what `program` points to, and keeps the orders that are the same for
  // each launch.
  Shared(const ChildSettings& settings, const LaunchedProgram& launched);
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { FreeParentOnly(areas.data(), sizeof(LaunchArea) * kAreas); }

  const LaunchedProgram program;
  const std::vector<char*> arguments;
  LaunchOrders orders = {};
  // Zeroed pages, of which the kernel provides those that are used.
  const absl::Span<LaunchArea> areas;
};

Launcher::Shared::Shared(const ChildSettings& settings,
                         const LaunchedProgram& launched)
    : program(launched),
      arguments(ArgumentPointers(program.arguments)),
      areas(static_cast<LaunchArea*>(
                AllocateParentOnly(sizeof(LaunchArea) * kAreas)),
            kAreas) {
  orders.begins_session =
      program.begins_session || settings.group == ProcessGroup::kOwnSession;
  orders.begins_group = settings.group == ProcessGroup::kOwn;
  orders.dies_with = program.dies_with;
  orders.limits_descriptors = settings.descriptors.has_value();
  if (settings.descriptors) orders.descriptors = *settings.descriptors;
  for (const int target : program.targets) {
    orders.targets[orders.target_count++] = target;
  }
  if (!program.directory.empty()) orders.directory = program.directory.c_str();
  orders.path = program.path.c_str();
  orders.arguments = arguments.data();
  orders.linger_ms = program.linger_ms;
}

Launcher::Launcher(int exit_signal, const ChildSettings& settings,
                   const LaunchedProgram& program)
    : exit_signal_(exit_signal),
      ignored_by_settings_(settings.ignored),
      shared_(std::make_unique<Shared>(settings, program)),
      is_refused_(!kHasRawCalls || !CanCloseOnExec()) {}

Launcher::~Launcher() {
  for (const LaunchArea& area : shared_->areas) {
    if (__atomic_load_n(&area.in_use, __ATOMIC_ACQUIRE) == 0) continue;
    static std::atomic<Shared*> abandoned;  // so that no tool reports a leak
    abandoned = shared_.release();
    return;
  }
}

void Launcher::Prepare() {
  LaunchOrders& orders = shared_->orders;
  orders.default_signals = 0;
  orders.ignored_signals = 0;
  for (int signal = 1; signal <= kSignals; ++signal) {
    const bool is_kept = Contains(shared_->program.kept_if_ignored, signal);
    if (IsIgnored(signal)) {
      if (!is_kept) orders.default_signals |= BitOf(signal);
    } else if (is_kept && Contains(ignored_by_settings_, signal)) {
      orders.ignored_signals |= BitOf(signal);
    }
  }
}

// An area whose process has failed keeps the error until the process has been
// reaped.
size_t Launcher::FindArea() const {
  for (size_t i = 0; i < kAreas; ++i) {
    const LaunchArea& area = shared_->areas[i];
    if (__atomic_load_n(&area.in_use, __ATOMIC_ACQUIRE) == 0 &&
        area.failed_call == nullptr) {
      return i;
    }
  }
  return kAreas;
}

bool Launcher::CopyEnvironment(char* const* environment, LaunchArea* area) {
  size_t count = 0;
  size_t used = 0;
  for (; environment[count] != nullptr; ++count) {
    const size_t size = std::strlen(environment[count]) + 1;
    if (count == LaunchArea::kMostVariables ||
        size > LaunchArea::kTextSize - used) {
      return false;
    }
    area->variables[count] = &area->text[used];
    std::memcpy(area->variables[count], environment[count], size);
    used += size;
  }
  area->variables[count] = nullptr;
  return true;
}

// Every signal is blocked until the process has set its actions: a signal that
// arrives in between would end a process that must ignore it. The kernel resets
// the handlers of this process, which must not run in shared memory.
absl::optional<absl::StatusOr<SpawnedChild>> Launcher::Launch(
    int connection, char* const* environment) {
  if (is_refused_) return absl::nullopt;
  const size_t number = FindArea();
  if (number == kAreas) return absl::nullopt;
  LaunchArea& area = shared_->areas[number];
  if (!CopyEnvironment(environment, &area)) return absl::nullopt;
  area.orders = shared_->orders;
  area.orders.connection = connection;
  area.orders.environment = area.variables;
  area.in_use = 1;

  clone_args arguments = {};
  arguments.flags = CLONE_VM | CLONE_CLEAR_SIGHAND | CLONE_CHILD_CLEARTID;
  arguments.child_tid = reinterpret_cast<uintptr_t>(&area.in_use);
  arguments.exit_signal = static_cast<uint64_t>(exit_signal_);
  arguments.stack = reinterpret_cast<uintptr_t>(area.stack);
  arguments.stack_size = sizeof(area.stack);
  sigset_t all, before;
  sigfillset(&all);
  if (sigprocmask(SIG_SETMASK, &all, &before) < 0) {
    area.in_use = 0;
    return ErrnoStatus(errno, "sigprocmask");
  }
  const long pid = CloneOntoStack(arguments, RunLaunchedProcess, &area);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid > 0) {
    pids_[number] = static_cast<pid_t>(pid);
    return SpawnedChild(Child::Adopt(static_cast<pid_t>(pid)),
                        std::chrono::steady_clock::now());
  }
  area.in_use = 0;
  const int error = static_cast<int>(-pid);
  is_refused_ = IsRefusal(error);
  if (is_refused_) return absl::nullopt;
  return ErrnoStatus(error, "clone3");
}

absl::Status Launcher::TakeError(pid_t pid) {
  auto* const found = std::find(pids_.begin(), pids_.end(), pid);
  if (found == pids_.end()) return absl::OkStatus();
  *found = 0;  // the kernel may give the number to a process of another area
  LaunchArea& area = shared_->areas[found - pids_.begin()];
  if (area.failed_call == nullptr) return absl::OkStatus();
  absl::Status why =
      ErrnoStatus(area.error, area.failed_call, shared_->program.path.c_str());
  area.failed_call = nullptr;
  return why;
}

}  // namespace brood::proc
