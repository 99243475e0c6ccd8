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
// Lives in the parent, in the thread that spawns. Create() returns a reaper as
// described in queue_reaper.h; tests have a FakeReaper. Adopt() takes ownership
// of a Child until CleanupChildren() returns its end. Destroying a reaper with
// live children aborts (child.h); see GiveUp() for children that do not end.
// The reaper never calls its caller: it returns the ends. Errors: Create()
// names the call. CleanupChildren() cannot fail: a child whose status another
// wait call took is returned with ExitStatus::Unknown().
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
  // Ownership is which children of this process belong to the reaper.
  enum class Ownership {
    // Those that it adopted: for an embedded server. Other children are never
    // waited for.
    kOursAlone,
    // All: for the standalone program, and for PID 1 of a container. Orphans
    // are reaped as well.
    kEveryChild,
  };
  using Instant = std::chrono::steady_clock::time_point;

  // Ended is the end of a child.
  struct Ended {
    // The pid, for the log only: the kernel may give it to another process.
    pid_t pid;
    // The tag with which the child was adopted, or that Retag() set.
    uint32_t tag;
    // How the child ended.
    ExitStatus status;
  };

  // Refused counts the children that SignalAll() could not signal.
  struct Refused {
    // The number of these children.
    size_t count = 0;
    // The pid of one of them; 0 if there is none.
    pid_t pid = 0;
    // The error of that one.
    absl::Status why;
  };

  // How many ends one CleanupChildren() looks for. It returns at most twice as
  // many.
  static constexpr int kBatch = 256;

  // Returns a reaper that has claimed an exit signal that is unused in this
  // process, so that several reapers do not disturb each other. It allocates no
  // memory as long as it has at most `expected_children`.
  static absl::StatusOr<std::unique_ptr<Reaper>> Create(
      Ownership ownership, size_t expected_children);
  // Aborts if a child is still owned that was not returned.
  virtual ~Reaper() = default;

  // Returns the signal with which children must be cloned.
  virtual int exit_signal() const = 0;
  // Returns a descriptor that is readable while a notice waits. Poll it; do not
  // read it.
  virtual int fd() const = 0;
  // Returns when CleanupChildren() must be called, with or without a notice;
  // Instant::max() if no child lives.
  virtual Instant next_check() const = 0;

  // Takes ownership of `child`; its end will be returned with `tag`. If the
  // last CleanupChildren() found the end of this pid while the child was not
  // adopted yet, the next one returns it, and is due at once.
  virtual void Adopt(Child child, uint32_t tag) = 0;
  // Returns the end of the child `pid` with `tag` from now on. Does nothing for
  // another pid.
  virtual void Retag(pid_t pid, uint32_t tag) = 0;
  // Gives up the child `pid`, which may outlive this process. If it has ended
  // already, reaps it and returns its status.
  virtual absl::optional<ExitStatus> Disown(pid_t pid) = 0;

  // Reaps children that have ended, and returns their ends, which are valid
  // until the next call. If there are more, fd() stays readable or next_check()
  // stays due. A child that is dead, and whose status a tracer holds, is
  // returned with ExitStatus::Held() a second after SIGKILL, and reaped when
  // the tracer lets it go.
  virtual absl::Span<const Ended> CleanupChildren(Instant now) = 0;
  // Sets how many of the children that were not killed are checked for being
  // dead and held by a tracer. While `everywhere` is true, each is checked, 32
  // every 50 ms, and again after a second, or at once if one was held or all
  // were sent SIGKILL. Otherwise one is checked every 50 ms.
  virtual void LookForHeld(bool everywhere) = 0;

  // Forgets the pids that the last CleanupChildren() found and that were not
  // adopted. Must be called once the children of a fork server have been
  // adopted: from then on such a pid may belong to another process.
  virtual void ForgetUnclaimed() = 0;

  // Sends `signal` to the child `pid`, and to the process group that it leads.
  // Returns NotFound if this reaper does not own such a child (any more).
  virtual absl::Status Signal(pid_t pid, int signal) = 0;
  // Returns how much processor time the child `pid` has used, with all its
  // threads and without its own children. Returns NotFound as Signal() does.
  virtual absl::StatusOr<absl::Duration> ProcessorTime(pid_t pid) = 0;
  // Sends `signal` to every child except those with the tag `spared`. Sends
  // SIGKILL only once to each child.
  virtual Refused SignalAll(int signal, uint32_t spared) = 0;

  // Reports whether children are left and SIGKILL ends none of them: the signal
  // was refused for the child, or the child sleeps uninterruptibly in the
  // kernel.
  virtual bool HasOnlyUnkillable() = 0;
  // Gives up every child that is left: the next calls of CleanupChildren()
  // return it with ExitStatus::GivenUp(), and do not wait for it any more.
  // Stores their pids in `pids`, as many as fit. Returns the number of these
  // children.
  virtual size_t GiveUp(absl::Span<pid_t> pids) = 0;

  // Returns the number of children whose ends have not been returned yet.
  virtual size_t live() const = 0;
  // Returns how many ends were found by a sweep, without a notice.
  virtual uint64_t found_by_sweep() const = 0;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPER_H_
