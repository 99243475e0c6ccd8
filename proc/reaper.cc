// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaper.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "brood/proc/child_table.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/signals.h"
#include "brood/proc/sync_point.h"

namespace brood::proc {
namespace {

constexpr std::chrono::milliseconds kCheckPeriod(50);
// waitpid(-1) walks the list of all live children. This much more time between
// two walks for each of them keeps their cost below a hundredth.
constexpr std::chrono::microseconds kCheckPeriodPerChild(20);
// How many cells of the table one sweep of known pids visits: at most half of
// them hold children, and each child costs a system call.
constexpr size_t kCellsPerSweep = 2048;

// The exit signals that reapers of this process have claimed, a bit for each.
std::atomic<uint64_t> claimed_signals{0};

uint64_t BitOf(int signal) { return uint64_t{1} << (signal - 1); }

void ReleaseExitSignal(int signal) { claimed_signals &= ~BitOf(signal); }

// What this process does with a real-time signal, in the order in which an exit
// signal is chosen. A signal that is blocked or ignored may be so because of
// the program that started this one, so it is not in use.
enum class Disposition { kDefault, kBlocked, kIgnored, kHandled };

Disposition DispositionOf(int signal) {
  struct sigaction action;
  if (sigaction(signal, nullptr, &action) < 0) return Disposition::kHandled;
  if (action.sa_handler == SIG_IGN) return Disposition::kIgnored;
  if (action.sa_handler != SIG_DFL) return Disposition::kHandled;
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, nullptr, &blocked);
  return sigismember(&blocked, signal) == 1 ? Disposition::kBlocked
                                            : Disposition::kDefault;
}

// Returns the highest real-time signal that is neither handled nor claimed in
// this process.
absl::StatusOr<int> ClaimExitSignal() {
  for (const Disposition accepted :
       {Disposition::kDefault, Disposition::kBlocked, Disposition::kIgnored}) {
    for (int signal = SIGRTMAX; signal >= SIGRTMIN; --signal) {
      if (DispositionOf(signal) != accepted) continue;
      if ((claimed_signals.fetch_or(BitOf(signal)) & BitOf(signal)) == 0) {
        return signal;
      }
    }
  }
  return absl::ResourceExhaustedError(
      "sigaction: every real-time signal of this process is handled or is the "
      "exit signal of another server");
}

void DoNothing(int /*signal*/) {}

}  // namespace

// QueueReaper learns of exits from a queue of signals, and from a sweep.
//
// Children are cloned with a real-time exit signal of this reaper's own, which
// is blocked, so that the kernel queues one notice for each exit, with the pid.
// CleanupChildren() takes the notices and waits for just those pids: the cost
// is the same with ten live children as with ten thousand, the embedder's wait
// calls do not see our children, and its use of SIGCHLD does not matter.
//
// The queue is bounded (RLIMIT_SIGPENDING), and a child that executes another
// program falls back to SIGCHLD. So a sweep follows every 50 ms while children
// live. With kOursAlone it asks for each known pid; with kEveryChild it is the
// pattern's `waitpid(-1, WNOHANG)` loop, orphans are reaped, and SIGCHLD is
// taken as well.
class QueueReaper final : public Reaper, public ParentOnly {
 public:
  QueueReaper(Ownership ownership, size_t expected_children, int exit_signal,
              SignalInbox inbox);
  ~QueueReaper() override;

  int exit_signal() const override { return exit_signal_; }
  int fd() const override { return inbox_.fd(); }
  Instant next_check() const override;
  void Adopt(Child child, uint32_t tag) override;
  void Retag(pid_t pid, uint32_t tag) override;
  absl::optional<ExitStatus> Disown(pid_t pid) override;
  absl::Span<const Ended> CleanupChildren(Instant now) override;
  void ForgetUnclaimed() override { unclaimed_.clear(); }
  absl::Status Signal(pid_t pid, int signal) override;
  absl::StatusOr<absl::Duration> ProcessorTime(pid_t pid) override;
  void SignalAll(int signal, uint32_t spared) override;
  size_t live() const override { return table_.size() + late_.size(); }
  uint64_t found_by_sweep() const override { return found_by_sweep_; }

 private:
  // A process that ended and that this reaper does not know: an orphan, a
  // child of the embedder, a forged notice, or a child that a fork server made
  // a moment ago and that will be adopted next.
  struct Unclaimed {
    pid_t pid;
    absl::optional<ExitStatus> status;  // set if it was reaped
  };

  void TakeNotices(Instant now);
  absl::optional<Ended> TryReap(ChildTable::Entry* entry);
  Ended Remove(ChildTable::Entry* entry, const ExitStatus& status);
  bool AppendIfEnded(ChildTable::Entry* entry);
  void SweepKnown();
  void SweepAny();
  bool full() const { return ended_.size() == kBatch; }

  const Ownership ownership_;
  const int exit_signal_;
  struct sigaction old_action_ = {};
  Private<SignalInbox> inbox_;
  ChildTable table_;
  // What the last CleanupChildren() returned, and what it could not identify.
  ParentOnlyVector<Ended> ended_;
  ParentOnlyVector<Unclaimed> unclaimed_;
  // Children that were adopted after they had ended: those that had been
  // reaped, and the pids of those whose notice had been taken.
  ParentOnlyVector<Ended> late_;
  ParentOnlyVector<pid_t> late_notices_;
  Instant next_check_ = Instant::min();
  size_t sweep_cursor_ = 0;
  uint64_t found_by_sweep_ = 0;
};

absl::StatusOr<std::unique_ptr<Reaper>> Reaper::Create(
    Ownership ownership, size_t expected_children) {
  absl::StatusOr<int> exit_signal = ClaimExitSignal();
  if (!exit_signal.ok()) return exit_signal.status();

  absl::Cleanup release = [&] { ReleaseExitSignal(*exit_signal); };
  absl::StatusOr<SignalInbox> inbox =
      ownership == Ownership::kEveryChild
          ? SignalInbox::Create({*exit_signal, SIGCHLD})
          : SignalInbox::Create({*exit_signal});
  if (!inbox.ok()) return inbox.status();
  std::unique_ptr<Reaper> reaper(new QueueReaper(
      ownership, expected_children, *exit_signal, *std::move(inbox)));
  std::move(release).Cancel();  // from here on the reaper releases it
  return reaper;
}

QueueReaper::QueueReaper(Ownership ownership, size_t expected_children,
                         int exit_signal, SignalInbox inbox)
    : ownership_(ownership),
      exit_signal_(exit_signal),
      inbox_(std::move(inbox)),
      table_(expected_children) {
  ended_.reserve(kBatch);
  unclaimed_.reserve(2 * kBatch);
  late_.reserve(kBatch);
  late_notices_.reserve(kBatch);
  // The signal is blocked in this thread, and so in those it starts. If the
  // embedder has a thread where it is not, the notice is lost there (the sweep
  // finds the child), but it must not end the process, as a real-time signal
  // does by default.
  struct sigaction harmless = {};
  harmless.sa_handler = DoNothing;
  harmless.sa_flags = SA_RESTART;
  sigaction(exit_signal_, &harmless, &old_action_);
}

QueueReaper::~QueueReaper() {
  while (inbox_->TryTake()) {
  }
  sigaction(exit_signal_, &old_action_, nullptr);
  ReleaseExitSignal(exit_signal_);
}

Reaper::Instant QueueReaper::next_check() const {
  if (!late_.empty() || !late_notices_.empty()) return Instant::min();
  return table_.size() == 0 ? Instant::max() : next_check_;
}

// A fork server's child may end, and its notice may be taken, before the fork
// server's table is read: then the pid is among the unclaimed ones.
void QueueReaper::Adopt(Child child, uint32_t tag) {
  SyncPoint("reaper: about to adopt");
  for (Unclaimed& unclaimed : unclaimed_) {
    if (unclaimed.pid != child.pid()) continue;
    unclaimed.pid = 0;
    if (unclaimed.status) {
      late_.push_back({std::move(child).Release(), tag, *unclaimed.status});
      return;
    }
    late_notices_.push_back(child.pid());
  }
  table_.Insert(std::move(child), tag);
}

absl::Span<const Reaper::Ended> QueueReaper::CleanupChildren(Instant now) {
  ended_.clear();
  unclaimed_.clear();
  ended_.swap(late_);
  for (const pid_t pid : late_notices_) {
    if (ChildTable::Entry* entry = table_.Find(pid)) AppendIfEnded(entry);
  }
  late_notices_.clear();
  TakeNotices(now);
  // With an empty table next_check_ may lie far back: the first check then
  // comes at once, and finds nothing.
  if (now < next_check_ || full()) return ended_;
  const size_t found_before = ended_.size();
  ownership_ == Ownership::kOursAlone ? SweepKnown() : SweepAny();
  found_by_sweep_ += ended_.size() - found_before;
  if (full()) return ended_;  // there may be more: the check stays due
  next_check_ = now + kCheckPeriod;
  if (ownership_ == Ownership::kEveryChild) {
    next_check_ = std::max<Instant>(
        next_check_,
        now + static_cast<int64_t>(table_.size()) * kCheckPeriodPerChild);
  }
  return ended_;
}

// Takes at most kBatch notices, and reaps the children that they name.
void QueueReaper::TakeNotices(Instant now) {
  for (int taken = 0; taken < kBatch && !full(); ++taken) {
    const absl::optional<siginfo_t> notice = inbox_->TryTake();
    if (!notice) return;
    SyncPoint("reaper: notice taken");
    // Any process of our user may send this signal. A forged notice names a pid
    // that is not ours, or a child that lives, for which the wait returns 0.
    if (ChildTable::Entry* entry = table_.Find(notice->si_pid)) {
      AppendIfEnded(entry);
      continue;
    }
    unclaimed_.push_back({notice->si_pid, absl::nullopt});
    if (notice->si_signo == SIGCHLD) {
      next_check_ = now;  // an orphan; and SIGCHLD may stand for several
    }
  }
}

// Asks for each known child in turn whether it has ended. Finds those whose
// notice was lost, and those whose status another wait call took.
void QueueReaper::SweepKnown() {
  const size_t cells = std::min(kCellsPerSweep, table_.cell_count());
  for (size_t visited = 0; visited < cells && !full();) {
    if (sweep_cursor_ >= table_.cell_count()) sweep_cursor_ = 0;
    ChildTable::Entry* entry = table_.At(sweep_cursor_);
    // After a removal the cell may hold another child.
    if (entry != nullptr && AppendIfEnded(entry)) continue;
    ++sweep_cursor_;
    ++visited;
  }
}

// The pattern's own loop, for a process that owns all its children.
void QueueReaper::SweepAny() {
  for (int reaped = 0; reaped < kBatch && !full(); ++reaped) {
    int wait_status;
    rusage usage;
    const pid_t pid =
        TEMP_FAILURE_RETRY(wait4(-1, &wait_status, WNOHANG | __WALL, &usage));
    if (pid == 0) return;
    if (pid < 0) {
      // No child at all: those in the table were reaped by another wait call.
      SweepKnown();
      return;
    }
    const ExitStatus status = ExitStatus::FromWait(wait_status, usage);
    if (ChildTable::Entry* entry = table_.Find(pid)) {
      ended_.push_back(Remove(entry, status));
    } else {
      unclaimed_.push_back({pid, status});
    }
  }
}

bool QueueReaper::AppendIfEnded(ChildTable::Entry* entry) {
  const absl::optional<Ended> ended = TryReap(entry);
  if (ended) ended_.push_back(*ended);
  return ended.has_value();
}

absl::optional<Reaper::Ended> QueueReaper::TryReap(ChildTable::Entry* entry) {
  int wait_status;
  rusage usage;
  // __WALL: a child whose exit signal is not SIGCHLD is waited for only so.
  const pid_t pid = TEMP_FAILURE_RETRY(
      wait4(entry->child.pid(), &wait_status, WNOHANG | __WALL, &usage));
  if (pid == 0) return absl::nullopt;
  return Remove(entry, pid > 0 ? ExitStatus::FromWait(wait_status, usage)
                               : ExitStatus::Unknown());
}

// From the wait on, the kernel may give the pid to another process: it leaves
// the table at once.
Reaper::Ended QueueReaper::Remove(ChildTable::Entry* entry,
                                  const ExitStatus& status) {
  const uint32_t tag = entry->tag;
  const pid_t pid = std::move(entry->child).Release();
  table_.Remove(entry);
  SyncPoint("reaper: reaped");
  return {pid, tag, status};
}

void QueueReaper::Retag(pid_t pid, uint32_t tag) {
  if (ChildTable::Entry* entry = table_.Find(pid)) entry->tag = tag;
}

absl::optional<ExitStatus> QueueReaper::Disown(pid_t pid) {
  ChildTable::Entry* entry = table_.Find(pid);
  if (entry == nullptr) return absl::nullopt;
  if (const absl::optional<Ended> ended = TryReap(entry)) return ended->status;
  std::move(entry->child).Release();
  table_.Remove(entry);
  return absl::nullopt;
}

// An error means that another wait call has just reaped the child, which the
// next sweep finds out.
void QueueReaper::SignalAll(int signal, uint32_t spared) {
  for (size_t cell = 0; cell < table_.cell_count(); ++cell) {
    const ChildTable::Entry* entry = table_.At(cell);
    if (entry == nullptr || entry->tag == spared) continue;
    entry->child.Signal(signal).IgnoreError();
  }
}

absl::StatusOr<absl::Duration> QueueReaper::ProcessorTime(pid_t pid) {
  const ChildTable::Entry* entry = table_.Find(pid);
  if (entry == nullptr) {
    return absl::NotFoundError("clock_gettime: not a child of this server");
  }
  return entry->child.ProcessorTime();
}

absl::Status QueueReaper::Signal(pid_t pid, int signal) {
  const ChildTable::Entry* entry = table_.Find(pid);
  if (entry == nullptr) {
    return absl::NotFoundError("kill: not a child of this server");
  }
  return entry->child.Signal(signal);
}

}  // namespace brood::proc
