// Reaper: waits for children, each exactly once, without ever blocking.
//
// Lives in the parent, in the thread that spawns. The only wait calls of the
// tree are in reaper.cc.
//
// How it learns of a death. Children are cloned with a real-time exit signal of
// this reaper's own, which is blocked, so that the kernel queues one notice for
// each death with the pid in it; CleanupChildren() takes the notices and waits
// for just those pids. That costs the same with ten children alive as with ten
// thousand, and the embedder's own wait calls do not even see our children, nor
// does it matter what the embedder does with SIGCHLD.
//
// The queue is bounded (RLIMIT_SIGPENDING) and a child that execs falls back to
// SIGCHLD, so there is a safety net behind it, every 50 ms while children live.
// Whose children this process has decides which, and is said once, here:
//   kOursAlone     an embedded server: a roll call of the pids that we know
//   kEveryChild    this process owns all its children (the standalone server,
//                  PID 1 of a container): wait for any child until there is
//                  none; strangers' orphans are buried too, and SIGCHLD is
//                  taken
//
// Ownership: Adopt() takes a Child from the caller until its end is delivered.
// Destroying a reaper with live children aborts (see child.h).
// Errors: Create() names the call. CleanupChildren() can't fail: a child whose
// status somebody else took is delivered with ExitStatus::Unknown().
//
// Example:
//   auto reaper = Reaper::Create(Reaper::Ownership::kOursAlone, 1000);
//   auto spawner = Spawner::Create((*reaper)->exit_signal());
//   (*reaper)->Adopt(*spawner->Spawn(body), /*tag=*/7);
//   ... poll (*reaper)->fd() until (*reaper)->next_check() ...
//   (*reaper)->CleanupChildren(now, [](const Reaper::Ended& ended) {
//     Retire(ended.tag, ended.status);
//   });

#ifndef BROOD_PROC_REAPER_H_
#define BROOD_PROC_REAPER_H_

#include <sys/types.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/proc/child.h"
#include "brood/proc/child_table.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/signals.h"

namespace brood::proc {

class Reaper : public ParentOnly {
 public:
  enum class Ownership { kOursAlone, kEveryChild };
  using Instant = std::chrono::steady_clock::time_point;

  struct Ended {
    pid_t pid;  // for the log only: the kernel may give it to anyone now
    uint32_t tag;
    ExitStatus status;
  };
  using Deliver = absl::FunctionRef<void(const Ended&)>;

  // Claims an exit signal that nobody in this process uses, so that several
  // reapers do not disturb each other. Up to `expected_children` at a time are
  // kept without allocating.
  static absl::StatusOr<std::unique_ptr<Reaper>> Create(
      Ownership ownership, size_t expected_children);
  ~Reaper();

  // What children must be cloned with.
  int exit_signal() const { return exit_signal_; }
  // Readable while a notice waits. Poll it; do not read it.
  int fd() const { return inbox_.fd(); }
  // When the safety net wants CleanupChildren() called, notice or not; the end
  // of time if no child lives.
  Instant next_check() const;

  // Takes `child` over; its end will be delivered with `tag`.
  void Adopt(Child child, uint32_t tag);
  // For children that this process did not spawn itself (Spawner's siblings):
  // `adopt` is called when a process ends that is not on the books, and adopts
  // those that have been born meanwhile. So none is ever taken for a stranger,
  // however soon it ends.
  void SetLateAdoption(std::function<void()> adopt) {
    adopt_latecomers_ = std::move(adopt);
  }
  // From now on the end of the child `pid` is delivered with `tag`.
  void Retag(pid_t pid, uint32_t tag);

  // The child `pid` is no concern of this reaper any more: it may outlive this
  // process, and its end is not delivered. If it has ended already, it is
  // reaped, and this is how.
  absl::optional<ExitStatus> Disown(pid_t pid);

  // Delivers the children that have ended, at most kBatch of them; what is left
  // keeps fd() readable or next_check() in the past.
  void CleanupChildren(Instant now, Deliver deliver);

  // Sends `signal` to the child `pid`; NotFound if it is none of ours (any
  // more).
  absl::Status Signal(pid_t pid, int signal);
  // The same to every child.
  void SignalAll(int signal);

  // Children adopted and not delivered yet.
  size_t live() const { return table_.size(); }
  // Deaths that the safety net found, and not the queue.
  uint64_t found_by_net() const { return found_by_net_; }

  static constexpr int kBatch = 256;

 private:
  Reaper(Ownership ownership, size_t expected_children, int exit_signal,
         SignalInbox inbox);

  int TakeNotices(Instant now, Deliver deliver);
  ChildTable::Entry* FindOrAdopt(pid_t pid);
  bool TryReap(ChildTable::Entry* entry, Deliver deliver);
  void DeliverEnd(ChildTable::Entry* entry, const ExitStatus& status,
                  Deliver deliver);
  int CallRoll(int at_most, Deliver deliver);
  int WaitForAny(int at_most, Deliver deliver);

  const Ownership ownership_;
  const int exit_signal_;
  struct sigaction old_action_ = {};
  SignalInbox inbox_;
  ChildTable table_;
  std::function<void()> adopt_latecomers_;
  Instant next_check_;
  size_t roll_cursor_ = 0;
  uint64_t found_by_net_ = 0;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPER_H_
