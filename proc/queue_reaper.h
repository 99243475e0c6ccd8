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

  void TakeNotices(Instant now);
  void TakeUnknown(const siginfo_t& notice, Instant now);
  bool IsOurUnknown(pid_t pid) const;
  WaitResult Wait(pid_t pid);
  int CountStop(pid_t pid);
  void ForgetStops(pid_t pid);
  Ended Remove(Entry* entry, const ExitStatus& status);
  bool AppendIfEnded(Entry* entry);
  void ReturnUnreaped(Entry* entry, const ExitStatus& status);
  void Note(Entry* entry, int signal, const absl::Status& sent);

  // Sweeps: reaper_sweeps.cc.
  void Sweep(Instant now);
  void SweepKnown();
  void SweepAny();
  void SweepUnknown();
  void SweepHeld(Instant now);
  void SweepKilled(Instant now);
  // Returns the child of `entry` if it is dead and held. Returns whether it is.
  bool ReturnIfHeld(Entry* entry);
  // Returns how many children to check now for being held.
  size_t ChecksForHeld(Instant now);
  uint32_t TicksAt(Instant now) const;
  void ReturnGivenUp();

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
