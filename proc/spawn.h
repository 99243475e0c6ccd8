// Spawner: gives birth to children that run a body of this program.
//
// Spawn() is called in the parent; the body runs in the child, which starts as
// a process of its own should:
//   - no signal is blocked, none is handled or ignored
//   - the framework's descriptors (Hide()) are closed
//   - gettid(), raise() and robust mutexes work: the C library's cached thread
//     id and robust list are those of the child
//   - what the parent had printed to stdio and not yet flushed is the parent's
// and leaves by _exit with the body's result: no atexit handler, no static
// destructor and no destructor of the parent's frames runs twice. What the
// child printed to stdout and stderr is flushed. It never returns into the
// parent's code, not even by an exception: one that leaves the body ends in
// std::terminate.
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
//   spawner->Hide(listener.fd());
//   absl::Status ready = spawner->Prepare();
//   absl::StatusOr<Child> child = spawner->Spawn([&] { return
//   Serve(connection); });

#ifndef BROOD_PROC_SPAWN_H_
#define BROOD_PROC_SPAWN_H_

#include <sys/types.h>

#include <csignal>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/proc/child.h"

namespace brood::proc {

class Spawner {
 public:
  // `exit_signal` is what the kernel sends this process when a child ends.
  static absl::StatusOr<Spawner> Create(int exit_signal);

  // Children born from now on do not see `fd`. To be taken back when `fd` is
  // closed, or they would miss whatever gets its number next.
  void Hide(int fd);
  void Unhide(int fd);
  // To be called before the first Spawn(), and again when other code has run:
  // looks up which signals this process ignores, for children to undo (handlers
  // need no look-up). Fails as Spawn() would in a process that has threads.
  absl::Status Prepare();

  // Runs `body` in a child, whose exit code is what it returns.
  absl::StatusOr<Child> Spawn(absl::FunctionRef<int()> body) const;

 private:
  struct FdRange {
    unsigned first, last;
  };

  explicit Spawner(int exit_signal) : exit_signal_(exit_signal) {}

  void JoinHidden();
  pid_t Clone() const;
  [[noreturn]] void LiveAsChild(absl::FunctionRef<int()> body) const noexcept;
  void ResetSignals() const;

  int exit_signal_;
  // Whether the kernel can reset handlers while it clones (clone3, Linux 5.5).
  bool has_clear_sighand_ = false;
  // Where the C library keeps the thread's id and its list of robust mutexes.
  int* tid_address_ = nullptr;
  void* robust_list_ = nullptr;
  size_t robust_list_size_ = 0;
  // Sorted; and the same as ranges, for neighbours are closed by one call.
  std::vector<unsigned> hidden_;
  std::vector<FdRange> hidden_ranges_;
  std::vector<int> ignored_signals_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_SPAWN_H_
