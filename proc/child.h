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
// A resource of the parent: it is moved, never copied or compared. The kernel
// does not use the pid again until the child is reaped. The reaper forgets the
// pid at the moment of the wait; if other code has reaped the child, Signal()
// finds out before it sends a signal (reaping/signal_child.h).
//
// Destroying a Child that still owns a process aborts the program, naming the
// pid: a zombie would be left behind, or a process that is not watched. In a
// process that was forked since then, a copy of the object owns nothing, and
// its destruction has no effect.
//
// Errors: Signal() and ProcessorTime() return the errno of their calls, by
// absl::ErrnoToStatus, and NotFound if the process is no longer a child.
//
// Example:
//   absl::StatusOr<Child> child = spawner.Spawn(body);
//   if (!child.ok()) return child.status();
//   reaper.Adopt(*std::move(child), slot);
class Child {
 public:
  // Owns nothing.
  Child() = default;
  // Takes ownership of `pid`, a child of this process that the caller would
  // have to reap otherwise.
  static Child Adopt(pid_t pid) { return Child(pid); }

  // Takes over the process of `other`, which then owns nothing.
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  // Takes over the process of `other`. Aborts if this object owns another one.
  Child& operator=(Child&& other) noexcept;
  // Aborts if a process is still owned.
  ~Child() { AbortIfUnreaped(); }

  // Returns the pid; 0 if nothing is owned.
  pid_t pid() const { return pid_; }
  // Sends `signal` to the process group that the child leads, or to the child
  // alone if it leads no group: the processes that the child started get the
  // signal too, unless they have left the group. Returns OK for a child that
  // has ended and was not reaped yet. Returns PermissionDenied if the child
  // itself could not be signalled.
  absl::Status Signal(int signal) const;
  // Returns how much processor time the child has used, with all its threads
  // and without its own children.
  absl::StatusOr<absl::Duration> ProcessorTime() const;
  // Returns the pid; the caller must reap the process.
  pid_t Release() && { return std::exchange(pid_, 0); }

 private:
  // Takes ownership of the process `pid`.
  explicit Child(pid_t pid) : pid_(pid) {}
  // Aborts the program, after printing the pid to standard error, if a child of
  // this process is owned that was not reaped.
  void AbortIfUnreaped() const;

  pid_t pid_ = 0;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_CHILD_H_
