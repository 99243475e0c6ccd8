// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_H_
#define BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/hardening/process_identity.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/reaper.h"
#include "brood/server/strategy/event_batching.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/strategy/zygote/pending_children.h"
#include "brood/server/strategy/zygote/zygote_process.h"

namespace brood::server {

// Zygote gives connections to a small process that was created with the server
// and forks a child for each: for programs with threads or much memory. See
// docs/decisions/zygote.md.
//
// The children are those of the supervisor (CLONE_PARENT), and outlive the
// zygote. When the zygote ends, the standby takes over with a new queue and the
// messages of the old one; if both have ended, new ones are created while this
// process is single-threaded. A zygote that does nothing for kLongestStall
// while connections wait is killed; one with other rights than this process
// gets no connection.
//
// Process: supervisor, in parent-only memory; zygote_process.h runs in the
// zygote. Tags: kConnection, kZygote, kStandby. Errors: those of the queues and
// of Spawner::Spawn; where CLONE_PARENT is refused, RehearseAtStart() returns
// Unimplemented.
//
// Example:
//   Zygote zygote(1000, environment);
//   absl::Status started = zygote.Start();   // before threads and memory
//   zygote.Dispatch(slot, std::move(connection), now, events);
class Zygote : public Strategy, public proc::ParentOnly {
 public:
  // How long the zygote may do nothing while connections wait for it. It forks
  // in less than a millisecond, or, with gigabytes of memory, in some tens.
  static constexpr absl::Duration kLongestStall = absl::Seconds(1);
  // The time after which a connection that the queue has refused is tried
  // again.
  static constexpr absl::Duration kRetryPeriod = absl::Milliseconds(20);
  // How long the queue may refuse a connection until this process forks for it.
  static constexpr absl::Duration kLongestRefusal = absl::Milliseconds(100);

  // Makes a strategy for slots 0 to `slots - 1`.
  Zygote(size_t slots, const StrategyEnvironment& environment);

  absl::Status Start() override;
  absl::StatusOr<Rehearsal> RehearseAtStart() override;
  absl::Status Prepare() override { return absl::OkStatus(); }
  // Replaces the zygote and the standby, which have the old rights. Returns
  // FailedPrecondition if this process has threads.
  absl::Status IdentityChanged(absl::string_view what) override;
  bool HasRoom() const override {
    return zygote_pid_ != 0 && !pending_.full() && !queue_refuses_ &&
           !must_replace_;
  }
  void Dispatch(Slot slot, net::Connection connection, net::Instant now,
                Events& events) override;
  void AdoptSpawned() override;
  void ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                  net::Instant now, Events& events) override;
  int fd(net::Instant now) const override {
    return process_ == nullptr || EventsWait(now) ? -1
                                                  : process_->doorbell().fd();
  }
  net::Instant alarm(net::Instant now) const override;
  void Attend(net::Instant now, Events& events) override;
  void Maintain(net::Instant now, bool idle, Events& events) override;
  absl::Status BeginGeneration() override;
  void Close() override { closed_ = true; }

  // Returns what runs in the zygote, so that a test can run it step by step.
  ZygoteProcess& process() { return *process_; }
  // Returns the queue of the zygote, for a test.
  const net::HandoffQueue& queue() const { return *queue_; }

 private:
  // Creates the queues, the table, the doorbell and `process_`, which uses
  // them. Creates no process. Errors: those of each Create(), after which
  // nothing has changed.
  absl::Status Open();
  // Creates the zygote unless it lives, and the standby unless it lives or was
  // requested. If only the standby fails, the zygote is kept. Errors: those of
  // madvise, Spawner::Prepare and Spawner::Spawn.
  absl::Status SpawnMissing();
  // Forks the process of `tag`, the zygote or the standby, and registers it
  // with the reaper. Returns its pid. Errors: those of Spawner::Spawn.
  absl::StatusOr<pid_t> Spawn(ChildTag tag);
  // Registers the process that the zygote created for number `*serial` in
  // `cell`, with `tag`, and returns its pid. Returns 0 if there is none yet, or
  // if it could not be created. Sets `*serial` to 0 once the outcome is known.
  pid_t TakeSpawned(uint32_t cell, uint32_t* serial, ChildTag tag);
  // Reports connections of `pending_` as serving or failed, and removes them:
  // in their order, up to the first one of which nothing is known yet.
  void Announce(net::Instant now, Events& events);
  // Records that the zygote has been reaped, and makes the standby take over
  // unless the zygote was told to exit. Without a standby, the next Repair()
  // creates a zygote.
  void ZygoteEnded(net::Instant now);
  // Makes the standby the zygote, with a queue that the old zygote does not
  // have. Returns false if there is no standby, if its rights are not those of
  // this process (`must_replace_` is set then), or if the kernel refuses a
  // step.
  bool Succeed(net::Instant now);
  // Replaces the queue by one of which no other process has a copy, and moves
  // the messages that the ended zygote has left there. Returns false if no
  // queue can be created for now; nothing has changed then.
  bool RenewQueue();
  // Moves the connections in the queue `from` to the queue `to`, and drops the
  // commands. Treats the connections of `pending_` that were not moved, and of
  // which nothing is known, as lost.
  void MoveMessages(const net::HandoffQueue& from, const net::HandoffQueue& to);
  // Returns whether Repair() has nothing to do: there is a zygote that need not
  // be replaced, and a standby exists or was requested.
  bool Complete() const;
  // Orders the zygote to create a standby, which AdoptSpawned() registers
  // later. Returns the error of the queue if it refuses the command.
  absl::Status RequestStandby();
  // Takes one step towards a zygote and a standby, and sets when the next step
  // may follow. Logs a failure. Fails the connections that wait if the strategy
  // is closed and still has no zygote.
  void Repair(net::Instant now, Events& events);
  // Creates a zygote and a standby with new queues, in place of the old ones.
  // Does nothing while connections wait for a zygote that lives; Repair() calls
  // it again. Errors: those of Open() and SpawnMissing().
  absl::Status Replace();
  // Tells the zygote and the standby to exit. Must be called when no connection
  // waits. KillDismissed() kills those that are left kLongestStall after `now`.
  void Dismiss(net::Instant now);
  // Kills the zygote, and logs that, unless it turns out to have handled the
  // first connection that waits. Sends only SIGCONT if no process could take
  // over.
  void KillStalled(net::Instant now);
  // Kills the zygote and the standby, once, if they have not ended in time
  // after Dismiss(). Does nothing before that time.
  void KillDismissed(net::Instant now);
  // Empties the queue, and reports the connections that have no child as
  // failed. Reports those whose children were created as serving before that.
  void GiveUpQueue(net::Instant now, Events& events);
  // Reports `connection`, which the queue refused with the error `why`, as
  // deferred. If this process has no threads, forks for the connection instead
  // when the zygote was told to exit, or when a queue that is not full has
  // refused every connection for kLongestRefusal.
  void QueueRefuses(Slot slot, net::Connection connection,
                    const absl::Status& why, net::Instant now, Events& events);
  // Returns a new number for a message, which is never 0.
  uint32_t NextSerial();
  // Returns whether events wait for the next connection. They do not while
  // HasRoom() returns false, because an event may make room.
  bool EventsWait(net::Instant now) const {
    return batching_.Waits(now) && HasRoom();
  }
  // Returns when the zygote counts as stalled: kLongestStall after
  // `progress_at_`. Returns Never() if no connection waits, or if there is no
  // zygote or it was killed already.
  net::Instant stalled_at() const;
  // Returns when Maintain() has processes to create, to dismiss or to kill,
  // which may be in the past; Never() if it has none.
  net::Instant repair_alarm() const;

  const size_t slots_;
  const StrategyEnvironment environment_;

  proc::Private<net::HandoffQueue> queue_;
  proc::Private<net::HandoffQueue> standby_queue_;
  // In ordinary memory.
  std::unique_ptr<ZygoteProcess> process_;

  pid_t zygote_pid_ = 0;
  pid_t standby_pid_ = 0;
  uint32_t last_serial_ = 0;
  uint32_t standby_serial_ = 0;    // of the standby that was requested last
  uint32_t rehearsal_serial_ = 0;  // of the rehearsal, while it is awaited

  // The identity with which the zygote and the standby were created.
  proc::ProcessIdentity identity_;

  PendingChildren pending_;
  // When the zygote last did something, or when the first of the connections
  // that wait was given to it, if that was later.
  net::Instant progress_at_ = net::Instant::min();
  // Whether the zygote was killed, and has not ended yet.
  bool is_killed_ = false;

  // Whether the queue has no room, until something leaves it or retry_at_.
  bool queue_refuses_ = false;
  net::Instant retry_at_ = net::Never();
  // Since when the queue has refused every connection; Never() if it has
  // accepted the last one.
  net::Instant refused_since_ = net::Never();

  EventBatching batching_;
  net::Instant next_repair_ = net::Instant::min();
  bool closed_ = false;
  // Whether the zygote and the standby must be replaced, once no connection
  // waits.
  bool must_replace_ = false;
  // Whether the queue is that of a zygote that has ended.
  bool must_renew_ = false;
  // Whether the zygote was told to exit, or does not exist yet.
  bool dismissed_ = true;
  // When the processes that were told to exit are killed.
  net::Instant kill_dismissed_at_ = net::Never();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_ZYGOTE_ZYGOTE_H_
