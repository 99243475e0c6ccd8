// SPDX-License-Identifier: Apache-2.0
//
// Spawner: creates child processes that run a function of this program.
//
// Spawn() is called in the parent; the body runs in the child, which starts as
// a process of its own should:
//   - no signal is blocked or handled, and only those are ignored that
//     ChildSettings says
//   - it runs in the process group that ChildSettings says
//   - it has a stack canary of its own, if ChildSettings says so
//   - the framework's descriptors (private_fds.h) are closed
//   - gettid(), raise() and robust mutexes work: the C library's cached thread
//     id and robust list are those of the child
//   - what the parent had printed to stdio and not yet flushed is the parent's
// and leaves by _exit with the body's result: no atexit handler, no static
// destructor and no destructor of the parent's frames runs twice, not even if
// the body calls exit() (but for what the parent registers with atexit after
// the first Prepare()). What the child printed to stdout and stderr is flushed.
// exit() in a process that something else forked is left alone.
// It never returns into the parent's code, not even by an exception: one that
// leaves the body ends in std::terminate.
//
// Children are cloned with the exit signal that the reaper listens to (see
// reaper.h). No way to create a child runs pthread_atfork handlers. Where the
// kernel or a policy refuses a way, the next one is used; see SpawnFallback.
//
// Only a single-threaded process may spawn: in a child of a threaded one, any
// lock (malloc's, the log's) may be held for ever by a thread that isn't there.
//
// Errors: FailedPrecondition when this process has threads; ResourceExhausted
// or Unavailable when the kernel refuses for now (ENOMEM, EAGAIN); the errno of
// the last way (EINVAL, ENOSYS, EPERM) when each is refused.
//
// Example:
//   auto spawner = CloneSpawner::Create(reaper.exit_signal());
//   absl::Status ready = spawner->Prepare();
//   absl::StatusOr<Child> child =
//       spawner->Spawn([&] { return Serve(connection); });

#ifndef BROOD_PROC_SPAWN_H_
#define BROOD_PROC_SPAWN_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/proc/child.h"
#include "brood/proc/hardening/stack_canary.h"

namespace brood::proc {

// ProcessGroup is the process group in which a child runs.
enum class ProcessGroup {
  kInherited,   // that of the process that spawns
  kOwn,         // one of its own, whose id is the child's pid
  kOwnSession,  // one of its own, in a session of its own
};

// ChildSettings says what a child is like when its body begins.
struct ChildSettings {
  ProcessGroup group = ProcessGroup::kInherited;
  // Signals that the child ignores.
  std::vector<int> ignored;
  // Signals that the child ignores if the process that spawns does.
  std::vector<int> ignored_as_in_parent;
  // The limit of descriptors that the child has, for a process that has raised
  // its own; that of the process that spawns, if there is none. The hard limit
  // is given so that one system call is enough: if it was lowered since, it
  // stays lowered.
  absl::optional<rlimit> descriptors;
  // Whether the child has a stack canary of its own; see
  // hardening/stack_canary.h. If not, it has that of the process that spawns,
  // and the body may return into functions that were entered before, as a
  // handler that resumes a coroutine of the parent does.
  bool own_stack_canary = true;
};

// SpawnFallback says how children are created where that is not by clone3 with
// all that it is asked for. A value; both are empty if it is.
struct SpawnFallback {
  // Names the way:
  //   "clone"               handlers are reset by the child, one by one
  //   "clone with SIGCHLD"  and the exit signal is SIGCHLD: the reaper finds
  //                         ends by its sweep, and wait calls for any child
  //                         find these children
  //   "fork"                the same, by the C library's _Fork(); no sibling
  //                         can be created
  std::string way;
  // Names the call that was refused, and the error.
  std::string why;
};

// SpawnedChild is a Child that also says when it was created.
class SpawnedChild : public Child {
 public:
  using Instant = std::chrono::steady_clock::time_point;

  SpawnedChild(Child child, Instant started_at)
      : Child(std::move(child)), started_at_(started_at) {}

  Instant started_at() const { return started_at_; }

 private:
  Instant started_at_;
};

// Spawner creates processes from this one: an interface, so that what decides
// when to create them can be tested without a fork. Process: see each call.
class Spawner {
 public:
  virtual ~Spawner() = default;

  // Records which signals this process ignores, for children to reset (handlers
  // need no look-up), and makes exit() end a child at once. Must be called
  // before the first Spawn(), and again when foreign code has run. Fails as
  // Spawn() would in a process that has threads.
  virtual absl::Status Prepare() = 0;

  // Runs `body` in a child, whose exit code is what it returns. The child keeps
  // those private descriptors that are in `kept_fds` (in ascending order).
  virtual absl::StatusOr<SpawnedChild> Spawn(
      absl::FunctionRef<int()> body,
      absl::Span<const int> kept_fds = {}) const = 0;

  // Creates the process as a child of this one's parent, as if that had spawned
  // it: the parent must reap it, and gets the exit signal with which this
  // process was itself cloned. The kernel writes the pid to `*spawned` before
  // the new process runs its first instruction, so that `*spawned` is right
  // even if this process is killed at that moment.
  virtual absl::StatusOr<pid_t> SpawnSibling(
      absl::FunctionRef<int()> body, pid_t* spawned,
      absl::Span<const int> kept_fds = {}) const = 0;

  // Returns how this object has created its last process.
  virtual SpawnFallback fallback() const = 0;
};

// CloneSpawner creates processes by the kernel's clone3 or clone, or by fork. A
// value: each process that spawns may have a copy, which falls back for itself.
class CloneSpawner final : public Spawner {
 public:
  // Children notify this process of their end by `exit_signal`.
  static absl::StatusOr<CloneSpawner> Create(int exit_signal,
                                             ChildSettings settings = {});

  absl::Status Prepare() override;
  absl::StatusOr<SpawnedChild> Spawn(
      absl::FunctionRef<int()> body,
      absl::Span<const int> kept_fds = {}) const override;
  absl::StatusOr<pid_t> SpawnSibling(
      absl::FunctionRef<int()> body, pid_t* spawned,
      absl::Span<const int> kept_fds = {}) const override;
  SpawnFallback fallback() const override;

 private:
  // The ways to create a process, the best one first.
  enum class Way { kClone3, kClone, kCloneWithSigchld, kFork };
  struct Chosen {
    Way way;
    // The call for whose refusal the way before was left, and its error.
    const char* refused;
    int error;
  };

  CloneSpawner(int exit_signal, ChildSettings settings)
      : exit_signal_(exit_signal), settings_(std::move(settings)) {}

  pid_t Clone(uint64_t flags, pid_t* spawned) const;
  pid_t CloneByWay(uint64_t flags, pid_t* spawned) const;
  bool TryNextWay() const;
  [[noreturn]] BROOD_NO_STACK_PROTECTOR void RunChild(
      absl::FunctionRef<int()> body,
      absl::Span<const int> kept_fds) const noexcept;
  void JoinGroup() const;
  void LimitDescriptors() const;
  void SetSignals() const;

  int exit_signal_;
  ChildSettings settings_;
  // How the last process was created. A child sees how it was created itself.
  mutable Chosen chosen_ = {Way::kClone3, "", 0};
  // Where the C library keeps the thread's id and its list of robust mutexes;
  // null where the kernel does not say.
  int* tid_address_ = nullptr;
  void* robust_list_ = nullptr;
  size_t robust_list_size_ = 0;
  // Signals that this process ignores, and a child does not.
  std::vector<int> reset_signals_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_SPAWN_H_
