// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPER_H_
#define BROOD_PROC_REAPER_H_

#include <sys/types.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/proc/child.h"
#include "brood/proc/exit_status.h"

namespace brood::proc {

// Reaper waits for children, each exactly once, without ever blocking.
//
// Process: the parent, in the thread that spawns. How the reaper of Create()
// learns of an exit is described in queue_reaper.h; tests have a FakeReaper.
// Ownership: Adopt() takes a Child until its end is returned by
// CleanupChildren(). Destroying a reaper with live children aborts (child.h);
// GiveUp() is for those that do not end.
// The reaper never calls its caller: what ended is returned and not delivered.
// Errors: Create() names the call. CleanupChildren() cannot fail: a child whose
// status another wait call took is returned with ExitStatus::Unknown().
//
// Example:
//   auto reaper = Reaper::Create(Reaper::Ownership::kOursAlone, 1000);
//   auto spawner = CloneSpawner::Create((*reaper)->exit_signal());
//   (*reaper)->Adopt(*spawner->Spawn(body), /*tag=*/7);
//   ... poll (*reaper)->fd() until (*reaper)->next_check() ...
//   for (const Reaper::Ended& ended : (*reaper)->CleanupChildren(now)) {
//     Retire(ended.tag, ended.status);
//   }
class Reaper {
 public:
  // Whose children this process has.
  enum class Ownership {
    kOursAlone,   // an embedded server: the others are never waited for
    kEveryChild,  // all are the server's (the standalone program, PID 1 of a
                  // container): orphans are reaped as well
  };
  using Instant = std::chrono::steady_clock::time_point;

  // The end of a child.
  struct Ended {
    pid_t pid;  // for the log only: the kernel may give it to another process
    uint32_t tag;
    ExitStatus status;
  };

  // What SignalAll() could not do.
  struct Refused {
    // The number of children that could not be signalled, one of them, and why.
    size_t count = 0;
    pid_t pid = 0;
    absl::Status why;
  };

  // How many ends one CleanupChildren() looks for. It returns at most twice as
  // many.
  static constexpr int kBatch = 256;

  // Claims an exit signal that is unused in this process, so that several
  // reapers do not disturb each other. Keeps up to `expected_children` at a
  // time without allocating.
  static absl::StatusOr<std::unique_ptr<Reaper>> Create(
      Ownership ownership, size_t expected_children);
  virtual ~Reaper() = default;

  // Returns the signal with which children must be cloned.
  virtual int exit_signal() const = 0;
  // Returns a descriptor that is readable while a notice waits. Poll it; do not
  // read it.
  virtual int fd() const = 0;
  // Returns when CleanupChildren() must be called, with or without a notice;
  // the end of time if no child lives.
  virtual Instant next_check() const = 0;

  // Takes ownership of `child`; its end will be returned with `tag`. If the
  // last CleanupChildren() met the end of this pid without knowing it, the next
  // one returns it, and is due at once.
  virtual void Adopt(Child child, uint32_t tag) = 0;
  // Returns the end of the child `pid` with `tag` from now on. Does nothing for
  // another pid.
  virtual void Retag(pid_t pid, uint32_t tag) = 0;
  // Stops watching the child `pid`, which may outlive this process. Returns its
  // status if it has ended already; it is reaped then.
  virtual absl::optional<ExitStatus> Disown(pid_t pid) = 0;

  // Reaps children that have ended, and returns them until the next call. What
  // is left keeps fd() readable or next_check() due. A child that is dead, and
  // whose status a tracer holds, is returned with ExitStatus::Held() a second
  // after SIGKILL, and reaped when the tracer lets it go.
  virtual absl::Span<const Ended> CleanupChildren(Instant now) = 0;
  // Looks for dead children that a tracer holds also among those that were not
  // killed. As long as `everywhere` is true, it looks at each child in turn, 32
  // every 50 ms, and again after a second, or at once if one was held or all
  // were sent SIGKILL. Otherwise it looks at one child every 50 ms.
  virtual void LookForHeld(bool everywhere) = 0;

  // Forgets the pids that the last CleanupChildren() did not know. Must be
  // called once a fork server's children have been adopted: from then on such
  // a pid may be given to another process.
  virtual void ForgetUnclaimed() = 0;

  // Sends `signal` to the child `pid`, and to the process group that it leads.
  // NotFound if this reaper has no such child (any more).
  virtual absl::Status Signal(pid_t pid, int signal) = 0;
  // Returns how much processor time the child `pid` has used in its life, all
  // its threads together and its own children apart. NotFound as for Signal().
  virtual absl::StatusOr<absl::Duration> ProcessorTime(pid_t pid) = 0;
  // Sends `signal` to every child but those with the tag `spared`. SIGKILL is
  // sent once to each.
  virtual Refused SignalAll(int signal, uint32_t spared) = 0;

  // Returns whether children are left and SIGKILL ends none of them: each
  // refused it, or sleeps in the kernel uninterruptibly.
  virtual bool HasOnlyUnkillable() = 0;
  // Gives up every child that is left: the next calls of CleanupChildren()
  // return it with ExitStatus::GivenUp(), and it is not waited for any more.
  // Stores as many of their pids in `pids` as it has room for. Returns the
  // number of such children.
  virtual size_t GiveUp(absl::Span<pid_t> pids) = 0;

  // Returns the number of children whose ends have not been returned yet.
  virtual size_t live() const = 0;
  // Returns how many ends the periodic sweep found, and not a notice.
  virtual uint64_t found_by_sweep() const = 0;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPER_H_
