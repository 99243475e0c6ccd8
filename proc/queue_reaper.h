// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_QUEUE_REAPER_H_
#define BROOD_PROC_QUEUE_REAPER_H_

#include <sys/types.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "brood/proc/child.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/reaper.h"
#include "brood/proc/reaping/child_table.h"
#include "brood/proc/reaping/exit_signal.h"
#include "brood/proc/reaping/wait_for_end.h"
#include "brood/proc/signals.h"

namespace brood::proc {

// QueueReaper is a Reaper that finds exits by a queue of signals, and by
// sweeps.
//
// Children are cloned with a real-time exit signal that only this reaper uses.
// It is blocked, so that the kernel queues one notice for each exit, with the
// pid. CleanupChildren() takes the notices and waits for these pids alone: the
// cost is the same with ten live children as with ten thousand.
//
// A notice can be missing: the queue is bounded (RLIMIT_SIGPENDING), and a
// child that executes another program gets the exit signal SIGCHLD. So a sweep
// waits for each child every 50 ms; with more than kChildrenPerSweep children,
// for a part of them each time. With kEveryChild a `waitpid(-1, WNOHANG)` loop
// runs as well, and SIGCHLD is a notice too.
//
// Lives in the parent, in parent-only memory. The number of exits that one call
// can find is bounded, and so is the memory for them: no call allocates.
class QueueReaper final : public Reaper, public ParentOnly {
 public:
  // Returns a reaper that reads its notices from `inbox`. See Reaper::Create().
  QueueReaper(Ownership ownership, size_t expected_children,
              ExitSignal exit_signal, SignalInbox inbox);
  ~QueueReaper() override;

  int exit_signal() const override { return exit_signal_.number(); }
  int fd() const override { return inbox_.fd(); }
  Instant next_check() const override;
  void Adopt(Child child, uint32_t tag) override;
  void Retag(pid_t pid, uint32_t tag) override;
  absl::optional<ExitStatus> Disown(pid_t pid) override;
  absl::Span<const Ended> CleanupChildren(Instant now) override;
  void LookForHeld(bool everywhere) override { looks_everywhere_ = everywhere; }
  void ForgetUnclaimed() override { unclaimed_.clear(); }
  absl::Status Signal(pid_t pid, int signal) override;
  absl::StatusOr<absl::Duration> ProcessorTime(pid_t pid) override;
  Refused SignalAll(int signal, uint32_t spared) override;
  bool HasOnlyUnkillable() override;
  size_t GiveUp(absl::Span<pid_t> pids) override;
  size_t live() const override {
    return table_.size() - returned_ + late_.size();
  }
  uint64_t found_by_sweep() const override { return found_by_sweep_; }

 private:
  using Entry = ChildTable::Entry;

  // Unclaimed is a process that ended and that is not in the table: an orphan,
  // a child of the embedder, the pid of a forged notice, or a child that a fork
  // server has just created and that will be adopted next.
  struct Unclaimed {
    pid_t pid;
    absl::optional<ExitStatus> status;  // set if it was reaped
  };
  // Stopped is a process that is not in the table and that stopped because this
  // process traces it.
  struct Stopped {
    pid_t pid = 0;
    int stops = 0;
  };
  static constexpr size_t kMostStopped = 16;

  // Takes at most kBatch notices, and reaps the children that they name. Leaves
  // the other notices in the queue once the batch of ends is full.
  void TakeNotices(Instant now);
  // Handles a notice whose pid is not in the table. Reaps that process if
  // IsOurUnknown(), and adds its pid to `unclaimed_` unless the wait found no
  // end. Makes a sweep of any child due if the kernel sent the notice.
  void TakeUnknown(const siginfo_t& notice, Instant now);
  // Reports whether this reaper may wait for `pid`, which is not in the table:
  // always with kEveryChild, and otherwise if it is an ended child whose exit
  // signal is that of this reaper or is not known.
  bool IsOurUnknown(pid_t pid) const;
  // Waits for `pid`, or for any child if that is -1, without blocking. Counts a
  // stop of a child that this process traces; see WaitForEnd().
  WaitResult Wait(pid_t pid);
  // Counts a stop of `pid`, and returns how often it has stopped because this
  // process traces it. Returns kMostStops, so that the process is killed, if it
  // is not in the table and there is no room to count.
  int CountStop(pid_t pid);
  // Ends the count of the stops of `pid`, a process that is not in the table;
  // does nothing if there is none.
  void ForgetStops(pid_t pid);
  // Removes `entry` from the table, gives up the ownership of its child, and
  // returns the end with `status`. Waits for nothing.
  Ended Remove(Entry* entry, const ExitStatus& status);
  // Waits for the child of `entry` without blocking, and returns whether it is
  // gone. If so, removes the entry, and appends the end to `ended_` unless it
  // was returned before.
  bool AppendIfEnded(Entry* entry);
  // Appends an end with `status` for a child that is not reaped, and keeps its
  // entry in the table.
  void ReturnUnreaped(Entry* entry, const ExitStatus& status);
  // Records in `entry` whether its child got SIGKILL: `sent` is the result of
  // sending `signal`. Does nothing for other signals.
  void Note(Entry* entry, int signal, const absl::Status& sent);

  // Runs the sweeps that are due at `now`, until the batch of ends is full.
  // This function and the next ones are in reaper_sweeps.cc.
  void Sweep(Instant now);
  // Waits for a bounded number of children of the table, from where the last
  // call ended, until the batch of ends is full.
  void SweepKnown();
  // Runs the `waitpid(-1, WNOHANG)` loop, for a process that owns all its
  // children. Adds those that are not in the table to `unclaimed_`.
  void SweepAny();
  // Reaps children that a handler created (CLONE_PARENT) and whose notices were
  // lost, and adds them to `unclaimed_`. Leaves children of the embedder and of
  // other reapers alone.
  void SweepUnknown();
  // Returns children that are dead and cannot be reaped because another process
  // traces them: their slots become free, whenever the tracer lets them go.
  // Checks ChecksForHeld() children, and then those that were killed.
  void SweepHeld(Instant now);
  // Checks a bounded number of the children that were killed a second ago, and
  // returns those that are dead and held.
  void SweepKilled(Instant now);
  // Returns the child of `entry`, and true, if it is dead and held. Does not if
  // the table is crowded, or if the child can be reaped by now.
  bool ReturnIfHeld(Entry* entry);
  // Returns how many children to check now for being held.
  size_t ChecksForHeld(Instant now);
  // Returns `now` in tenths of a second, with the lowest bit set, so that it is
  // never 0.
  uint32_t TicksAt(Instant now) const;
  // Returns the children that GiveUp() has found, as far as the batch of ends
  // has room. The next CleanupChildren() returns the others.
  void ReturnGivenUp();

  // Reports whether the batch of ends is full: later ends are left for the next
  // CleanupChildren().
  bool full() const { return ended_.size() >= kBatch; }

  const Ownership ownership_;
  ExitSignal exit_signal_;
  Private<SignalInbox> inbox_;
  ChildTable table_;
  // The ends that the last CleanupChildren() returned, and those of processes
  // that are not in the table.
  ParentOnlyVector<Ended> ended_;
  ParentOnlyVector<Unclaimed> unclaimed_;
  // Children that were adopted after they had ended: the ends of those that had
  // been reaped, and the pids of those whose notice had been taken.
  ParentOnlyVector<Ended> late_;
  ParentOnlyVector<pid_t> late_notices_;
  std::array<Stopped, kMostStopped> stopped_;
  // When the next sweep of the children in the table is due, and when the next
  // sweep of any child is.
  Instant known_check_ = Instant::min();
  Instant any_check_ = Instant::min();
  // Whether the sweep of any child is due although the table is empty.
  bool any_is_due_ = false;
  size_t sweep_cursor_ = 0;
  size_t held_cursor_ = 0;
  // How many children are still to be checked in this round for being held.
  size_t held_left_ = 0;
  // Whether a child was held in this round.
  bool held_found_ = false;
  // When the next round begins.
  Instant held_round_ = Instant::min();
  // Whether there are pauses between rounds.
  bool held_pauses_ = true;
  // How many children of the table were returned and are not reaped yet.
  size_t returned_ = 0;
  // How many other children of the table were sent SIGKILL.
  size_t killed_ = 0;
  bool looks_everywhere_ = false;
  // Whether children were given up that were not returned yet.
  bool gives_up_ = false;
  // Whether any child was given up.
  bool has_given_up_ = false;
  uint64_t found_by_sweep_ = 0;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_QUEUE_REAPER_H_
