// Spawner: gives birth to children that run a body of this program.
//
// Spawn() is called in the parent; the body runs in the child, which starts as
// a process of its own should:
//   - no signal is blocked, none is handled or ignored
//   - the framework's descriptors (private_fds.h) are closed
//   - gettid(), raise() and robust mutexes work: the C library's cached thread
//     id and robust list are those of the child
//   - what the parent had printed to stdio and not yet flushed is the parent's
// and leaves by _exit with the body's result: no atexit handler, no static
// destructor and no destructor of the parent's frames runs twice, not even if
// the body calls exit() (but for what the parent registers with atexit after
// the first Prepare()). What the child printed to stdout and stderr is flushed.
// It never returns into the parent's code, not even by an exception: one that
// leaves the body ends in std::terminate.
//
// Children are cloned with the exit signal that the reaper listens to (see
// reaper.h). The raw clone does not run pthread_atfork handlers.
//
// Only a single-threaded process may spawn: in a child of a threaded one, any
// lock (malloc's, the log's) may be held for ever by a thread that isn't there.
//
// Errors: FailedPrecondition when this process has threads; ResourceExhausted
// or Unavailable when the kernel refuses for now (ENOMEM, EAGAIN).
//
// Example:
//   absl::StatusOr<Spawner> spawner = Spawner::Create(reaper.exit_signal());
//   absl::Status ready = spawner->Prepare();
//   absl::StatusOr<Child> child =
//       spawner->Spawn([&] { return Serve(connection); });

#ifndef BROOD_PROC_SPAWN_H_
#define BROOD_PROC_SPAWN_H_

#include <sys/types.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "brood/proc/child.h"

namespace brood::proc {

class Spawner {
 public:
  // `exit_signal` is what the kernel sends this process when a child ends.
  static absl::StatusOr<Spawner> Create(int exit_signal);

  // To be called before the first Spawn(), and again when other code has run:
  // looks up which signals this process ignores, for children to undo (handlers
  // need no look-up), and sees to it that exit() ends a child at once. Fails as
  // Spawn() would in a process that has threads.
  absl::Status Prepare();

  // Runs `body` in a child, whose exit code is what it returns. Of what is
  // hidden the child keeps `kept_fds` (in ascending order).
  absl::StatusOr<Child> Spawn(absl::FunctionRef<int()> body,
                              absl::Span<const int> kept_fds = {}) const;

  // The same, but the new process becomes a child of this one's parent, as if
  // that had spawned it: it must reap it, and gets the exit signal that this
  // process was itself cloned with. The kernel writes the pid to `*born` before
  // the new process runs its first instruction, so that `*born` is right even
  // if this process is killed at that moment.
  absl::StatusOr<pid_t> SpawnSibling(absl::FunctionRef<int()> body, pid_t* born,
                                     absl::Span<const int> kept_fds = {}) const;

 private:
  explicit Spawner(int exit_signal) : exit_signal_(exit_signal) {}

  pid_t Clone(uint64_t flags, int exit_signal, pid_t* born) const;
  [[noreturn]] void LiveAsChild(absl::FunctionRef<int()> body,
                                absl::Span<const int> kept_fds) const noexcept;
  void ResetSignals() const;

  int exit_signal_;
  // Whether the kernel can reset handlers while it clones (clone3, Linux 5.5).
  bool has_clear_sighand_ = false;
  // Where the C library keeps the thread's id and its list of robust mutexes.
  int* tid_address_ = nullptr;
  void* robust_list_ = nullptr;
  size_t robust_list_size_ = 0;
  std::vector<int> ignored_signals_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_SPAWN_H_
