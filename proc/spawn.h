// SPDX-License-Identifier: Apache-2.0
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
  // That of the process that spawns.
  kInherited,
  // A new one, whose id is the pid of the child.
  kOwn,
  // A new one, in a new session.
  kOwnSession,
};

// ChildSettings is the state of a child when its body begins.
struct ChildSettings {
  // The process group of the child.
  ProcessGroup group = ProcessGroup::kInherited;
  // The signals that the child ignores.
  std::vector<int> ignored;
  // The signals that the child ignores if the process that spawns does.
  std::vector<int> ignored_as_in_parent;
  // The limit of descriptors of the child, for a process that has raised its
  // own; if not set, the child has the limit of the process that spawns. The
  // hard limit is included so that one system call is enough: if it was lowered
  // since, it stays lowered.
  absl::optional<rlimit> descriptors;
  // Whether the child draws a new stack canary; see hardening/stack_canary.h.
  // If not, it has the canary of the process that spawns, and the body may
  // return into functions that were entered before, as a handler does that
  // resumes a coroutine of the parent.
  bool own_stack_canary = true;
};

// SpawnFallback describes how children are created where the kernel does not
// allow clone3 with all its arguments. A value; both fields are empty where it
// does.
struct SpawnFallback {
  // The name of the way:
  //   "clone"               the child resets the signal handlers one by one
  //   "clone with SIGCHLD"  the same, and the exit signal is SIGCHLD: the
  //                         reaper finds ends by its sweep, and wait calls for
  //                         any child find these children
  //   "fork"                the same, by _Fork() of the C library; no sibling
  //                         can be created
  std::string way;
  // The call that was refused, and the error.
  std::string why;
};

// SpawnedChild is a Child with the time at which it was created.
class SpawnedChild : public Child {
 public:
  using Instant = std::chrono::steady_clock::time_point;

  // Takes ownership of `child`.
  SpawnedChild(Child child, Instant started_at)
      : Child(std::move(child)), started_at_(started_at) {}

  // Returns the time at which the process was created.
  Instant started_at() const { return started_at_; }

 private:
  Instant started_at_;
};

// Spawner creates child processes that run a function of this program. An
// interface: tests have a FakeSpawner. The state of a child is in
// CloneSpawner's comment.
//
// Only a process with a single thread may spawn: in a child of a process with
// threads, a thread that does not exist there may hold any lock, such as that
// of malloc.
//
// Errors: FailedPrecondition if this process has threads; ResourceExhausted or
// Unavailable if the kernel refuses for now (ENOMEM, EAGAIN); the errno of the
// last way (EINVAL, ENOSYS, EPERM) if each way is refused (see SpawnFallback).
//
// Example:
//   auto spawner = CloneSpawner::Create(reaper.exit_signal());
//   absl::Status ready = spawner->Prepare();
//   absl::StatusOr<Child> child =
//       spawner->Spawn([&] { return Serve(connection); });
class Spawner {
 public:
  virtual ~Spawner() = default;

  // Records which signals this process ignores, so that children reset them
  // (handlers are reset without that), and makes exit() end a child at once.
  // Must be called before the first Spawn(), and again after foreign code has
  // run. Returns FailedPrecondition if this process has threads.
  virtual absl::Status Prepare() = 0;

  // Creates a child that runs `body` and exits with the code that it returns.
  // Called in the parent. The child keeps the private descriptors that are in
  // `kept_fds` (in ascending order).
  virtual absl::StatusOr<SpawnedChild> Spawn(
      absl::FunctionRef<int()> body,
      absl::Span<const int> kept_fds = {}) const = 0;

  // Creates a child of the parent of this process, which runs `body`. The
  // parent must reap it, and gets the exit signal with which this process was
  // itself cloned. The kernel writes the pid to `*spawned` before the new
  // process runs its first instruction, so that `*spawned` is right even if
  // this process is killed at that moment.
  virtual absl::StatusOr<pid_t> SpawnSibling(
      absl::FunctionRef<int()> body, pid_t* spawned,
      absl::Span<const int> kept_fds = {}) const = 0;

  // Returns the way in which this object has created its last process.
  virtual SpawnFallback fallback() const = 0;
};

// CloneSpawner creates processes by clone3, clone or fork.
//
// A child starts in a clean state: no signal is blocked or handled, and the
// signals, the process group, the limit and the stack canary are those of its
// ChildSettings. Private descriptors (private_fds.h) are closed. gettid(),
// raise() and robust mutexes work. Handlers of pthread_atfork() do not run.
//
// A child ends by _exit with the result of its body, and never returns into the
// code of the parent: an exception that leaves the body ends in
// std::terminate. No atexit handler, no static destructor and no destructor of
// the frames of the parent runs in the child, even if the body calls exit().
// (Exception: atexit handlers that the parent registers after the first
// Prepare().) Output of the child to stdio is flushed; output that the parent
// had not flushed is dropped in the child. exit() is not changed in a process
// that other code has forked.
//
// A value: each process that spawns may have a copy, which falls back for
// itself.
class CloneSpawner final : public Spawner {
 public:
  // Returns a spawner whose children notify this process of their end by
  // `exit_signal`, that of the reaper (see reaper.h).
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
  // Chosen is the way in use, and the reason for it.
  struct Chosen {
    Way way;
    // The call whose refusal excluded the previous way.
    const char* refused;
    // The errno of that call.
    int error;
  };

  // Stores the arguments. Create() then reads the addresses from the kernel.
  CloneSpawner(int exit_signal, ChildSettings settings)
      : exit_signal_(exit_signal), settings_(std::move(settings)) {}

  // Creates a process as fork() does, but with `exit_signal_` and with `flags`
  // of clone(2). Returns its pid, or 0 in the new process, where every signal
  // is blocked if it `sets_signals_`; -1 with errno if no process could be
  // created.
  pid_t Clone(uint64_t flags, pid_t* spawned) const;
  // Does the same, by the best way that the kernel allows, and blocks every
  // signal meanwhile.
  pid_t CloneBlocked(uint64_t flags, pid_t* spawned) const;
  // Does the same by the way in `chosen_` alone, with the signal mask of the
  // caller.
  pid_t CloneByWay(uint64_t flags, pid_t* spawned) const;
  // Chooses the next way after one that was refused with errno. Returns false
  // if it was the last one.
  bool TryNextWay() const;
  // Brings the new process into its clean state, runs `body`, and exits with
  // the result. Runs in the child, as all functions below.
  [[noreturn]] BROOD_NO_STACK_PROTECTOR void RunChild(
      absl::FunctionRef<int()> body,
      absl::Span<const int> kept_fds) const noexcept;
  // Moves the child to its process group. If a sandbox refuses that, the child
  // runs in the group of its parent.
  void JoinGroup() const;
  // Sets the limit of descriptors, if the settings have one, and keeps a hard
  // limit that has changed since the settings were made. Ignores errors.
  void LimitDescriptors() const;
  // Sets the dispositions of all signals as the settings require, and then
  // unblocks every signal, if the child `sets_signals_`.
  void SetSignals() const;

  int exit_signal_;
  ChildSettings settings_;
  // How the last process was created; in a child, how the child was created.
  mutable Chosen chosen_ = {Way::kClone3, "", 0};
  // Where the C library keeps the id of the thread and its list of robust
  // mutexes; null if the kernel does not report it.
  int* tid_address_ = nullptr;
  void* robust_list_ = nullptr;
  size_t robust_list_size_ = 0;
  // The signals that this process ignores, and a child does not.
  std::vector<int> reset_signals_;
  // Whether the signals of a child differ from those of this process, apart
  // from handlers, which clone3 resets.
  bool changes_signals_ = true;
  // Whether the last child that was created sets its signals itself.
  mutable bool sets_signals_ = true;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_SPAWN_H_
