// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_CHILD_H_
#define BROOD_PROC_CHILD_H_

#include <sys/types.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace brood::proc {

// Child is the owner of a process that must be reaped.
//
// A resource of the parent's: moved, never copied or compared. Until a child is
// reaped the kernel keeps its pid from being used again. The reaper forgets it
// at the instant of the wait; that other code has reaped it is noticed before
// a signal is sent (reaping/signal_child.h).
//
// To destroy a Child that still owns a process would leave behind a zombie, or
// a process that is not watched; it aborts, naming the pid. In a process that
// was forked since, a copy of the object owns nothing, and its destruction has
// no effect.
//
// Errors: Signal() and ProcessorTime() return the errno of their calls, by
// absl::ErrnoToStatus, and NotFound if the process is no child any more.
//
// Example:
//   absl::StatusOr<Child> child = spawner.Spawn(body);
//   if (!child.ok()) return child.status();
//   reaper.Adopt(*std::move(child), slot);
class Child {
 public:
  // Owns nothing.
  Child() = default;
  // Takes the duty to reap `pid`, a child of this process, from the caller.
  static Child Adopt(pid_t pid) { return Child(pid); }

  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child& operator=(Child&& other) noexcept;
  ~Child() { AbortIfUnreaped(); }

  // Returns 0 when nothing is owned.
  pid_t pid() const { return pid_; }
  // Sends `signal` to the process group that the child leads, and to the child
  // alone if it leads none: what the child started ends with it, unless that
  // has left the group. A child that has ended but was not reaped yet takes it
  // too. Returns PermissionDenied if the child itself could not be signalled.
  absl::Status Signal(int signal) const;
  // Returns how much processor time the child has used, all its threads
  // together and its own children apart.
  absl::StatusOr<absl::Duration> ProcessorTime() const;
  // Gives the duty to reap to the caller.
  pid_t Release() && { return std::exchange(pid_, 0); }

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  void AbortIfUnreaped() const;

  pid_t pid_ = 0;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_CHILD_H_
