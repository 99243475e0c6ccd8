#include "brood/proc/reaper.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "brood/proc/sync_point.h"

namespace brood::proc {
namespace {

constexpr std::chrono::milliseconds kCheckPeriod(50);
// waitpid(-1) walks the list of all live children. This much more time between
// two walks for each of them keeps their cost below a hundredth.
constexpr std::chrono::microseconds kCheckPeriodPerChild(20);
// How far one roll call goes through the table: half of it are children at
// most, and each costs a system call.
constexpr size_t kCellsPerRollCall = 2048;

// The exit signals that reapers of this process hold, a bit for each.
std::atomic<uint64_t> claimed_signals{0};

uint64_t BitOf(int signal) { return uint64_t{1} << (signal - 1); }

void ReleaseExitSignal(int signal) { claimed_signals &= ~BitOf(signal); }

// The highest real-time signal that nobody handles, ignores, blocks or claimed.
absl::StatusOr<int> ClaimExitSignal() {
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, nullptr, &blocked);
  for (int signal = SIGRTMAX; signal >= SIGRTMIN; --signal) {
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) < 0 ||
        action.sa_handler != SIG_DFL || sigismember(&blocked, signal)) {
      continue;
    }
    if ((claimed_signals.fetch_or(BitOf(signal)) & BitOf(signal)) == 0) {
      return signal;
    }
  }
  return absl::ResourceExhaustedError(
      "sigaction: every real-time signal of this process is in use");
}

void DoNothing(int /*signal*/) {}

}  // namespace

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
  std::unique_ptr<Reaper> reaper(new Reaper(ownership, expected_children,
                                            *exit_signal, *std::move(inbox)));
  std::move(release).Cancel();  // from here on it releases it
  return reaper;
}

Reaper::Reaper(Ownership ownership, size_t expected_children, int exit_signal,
               SignalInbox inbox)
    : ownership_(ownership),
      exit_signal_(exit_signal),
      inbox_(std::move(inbox)),
      table_(expected_children),
      next_check_(Instant::min()) {
  // The signal is blocked in this thread, and so in those it starts. Should the
  // embedder have a thread where it is not, the notice is lost to us there (the
  // safety net finds the child), but must not end the process, as a real-time
  // signal does by default.
  struct sigaction harmless = {};
  harmless.sa_handler = DoNothing;
  harmless.sa_flags = SA_RESTART;
  sigaction(exit_signal_, &harmless, &old_action_);
}

Reaper::~Reaper() {
  while (inbox_.TryTake()) {
  }
  sigaction(exit_signal_, &old_action_, nullptr);
  ReleaseExitSignal(exit_signal_);
}

Reaper::Instant Reaper::next_check() const {
  return table_.size() == 0 ? Instant::max() : next_check_;
}

void Reaper::Adopt(Child child, uint32_t tag) {
  SyncPoint("reaper: about to adopt");
  table_.Insert(std::move(child), tag);
}

void Reaper::CleanupChildren(Instant now, Deliver deliver) {
  const int left = kBatch - TakeNotices(now, deliver);
  // With no child on the books next_check_ may lie far back: the first check
  // then comes at once, and finds nothing.
  if (now < next_check_ || left == 0) return;
  const bool ours_alone = ownership_ == Ownership::kOursAlone;
  const int found =
      ours_alone ? CallRoll(left, deliver) : WaitForAny(left, deliver);
  if (found == left) return;  // there may be more: the check stays due
  next_check_ = now + kCheckPeriod;
  if (!ours_alone) {
    next_check_ = std::max<Instant>(
        next_check_,
        now + static_cast<int64_t>(table_.size()) * kCheckPeriodPerChild);
  }
}

// Takes kBatch notices at most, reaps the children they tell of, and gives the
// number of those.
int Reaper::TakeNotices(Instant now, Deliver deliver) {
  int reaped = 0;
  for (int taken = 0; taken < kBatch; ++taken) {
    const absl::optional<siginfo_t> notice = inbox_.TryTake();
    if (!notice) break;
    SyncPoint("reaper: notice taken");
    // A pid that is not ours is an embedder's or a forged notice: anyone of our
    // user may send this signal. One that is ours and lives is forged as well,
    // and the wait, which does not block, says so.
    ChildTable::Entry* entry = FindOrAdopt(notice->si_pid);
    if (entry != nullptr) {
      if (TryReap(entry, deliver)) ++reaped;
    } else if (notice->si_signo == SIGCHLD) {
      next_check_ = now;  // an orphan; and SIGCHLD may stand for many
    }
  }
  return reaped;
}

ChildTable::Entry* Reaper::FindOrAdopt(pid_t pid) {
  ChildTable::Entry* entry = table_.Find(pid);
  if (entry != nullptr || !adopt_latecomers_) return entry;
  adopt_latecomers_();
  return table_.Find(pid);
}

// Asks for each child in turn whether it has ended. Finds those whose notice
// was lost, and those that somebody else reaped. Gives their number.
int Reaper::CallRoll(int at_most, Deliver deliver) {
  int reaped = 0;
  const size_t cells = std::min(kCellsPerRollCall, table_.cell_count());
  for (size_t looked_at = 0; looked_at < cells && reaped < at_most;) {
    if (roll_cursor_ >= table_.cell_count()) roll_cursor_ = 0;
    ChildTable::Entry* entry = table_.At(roll_cursor_);
    if (entry != nullptr && TryReap(entry, deliver)) {
      ++reaped;
      continue;  // the cell may hold another child now
    }
    ++roll_cursor_;
    ++looked_at;
  }
  found_by_net_ += static_cast<uint64_t>(reaped);
  return reaped;
}

// The pattern's own loop, for a process that owns all its children. Gives the
// number that it reaped.
int Reaper::WaitForAny(int at_most, Deliver deliver) {
  for (int reaped = 0; reaped < at_most; ++reaped) {
    int wait_status;
    rusage usage;
    const pid_t pid =
        TEMP_FAILURE_RETRY(wait4(-1, &wait_status, WNOHANG | __WALL, &usage));
    if (pid == 0) return reaped;
    if (pid < 0) {
      // No child at all: whoever is still on the books was reaped elsewhere.
      return reaped + CallRoll(at_most - reaped, deliver);
    }
    ChildTable::Entry* entry = FindOrAdopt(pid);
    if (entry == nullptr) continue;  // an orphan that was given to us
    ++found_by_net_;
    DeliverEnd(entry, ExitStatus::FromWait(wait_status, usage), deliver);
  }
  return at_most;
}

bool Reaper::TryReap(ChildTable::Entry* entry, Deliver deliver) {
  int wait_status;
  rusage usage;
  // __WALL: a child whose exit signal is not SIGCHLD is waited for only so.
  const pid_t pid = TEMP_FAILURE_RETRY(
      wait4(entry->child.pid(), &wait_status, WNOHANG | __WALL, &usage));
  if (pid == 0) return false;
  DeliverEnd(entry,
             pid > 0 ? ExitStatus::FromWait(wait_status, usage)
                     : ExitStatus::Unknown(),
             deliver);
  return true;
}

// The pid is forgotten before anyone hears of the end: from the wait on, the
// kernel may give it to a stranger.
void Reaper::DeliverEnd(ChildTable::Entry* entry, const ExitStatus& status,
                        Deliver deliver) {
  const uint32_t tag = entry->tag;
  const pid_t pid = std::move(entry->child).Release();
  table_.Remove(entry);
  SyncPoint("reaper: reaped");
  deliver({pid, tag, status});
}

void Reaper::Retag(pid_t pid, uint32_t tag) {
  if (ChildTable::Entry* entry = table_.Find(pid)) entry->tag = tag;
}

absl::optional<ExitStatus> Reaper::Disown(pid_t pid) {
  ChildTable::Entry* entry = table_.Find(pid);
  if (entry == nullptr) return absl::nullopt;
  absl::optional<ExitStatus> status;
  const bool ended = TryReap(
      entry, [&](const Ended& delivered) { status = delivered.status; });
  if (ended) return status;
  std::move(entry->child).Release();
  table_.Remove(entry);
  return absl::nullopt;
}

// An error means that the child has just been reaped by somebody else, which
// the next roll call finds out.
void Reaper::SignalAll(int signal) {
  for (size_t cell = 0; cell < table_.cell_count(); ++cell) {
    const ChildTable::Entry* entry = table_.At(cell);
    if (entry != nullptr) entry->child.Signal(signal).IgnoreError();
  }
}

absl::Status Reaper::Signal(pid_t pid, int signal) {
  const ChildTable::Entry* entry = table_.Find(pid);
  if (entry == nullptr) return absl::NotFoundError("kill: not a child of ours");
  return entry->child.Signal(signal);
}

}  // namespace brood::proc
