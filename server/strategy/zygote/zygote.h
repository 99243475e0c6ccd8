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
  absl::Status Open();
  absl::Status SpawnMissing();
  absl::StatusOr<pid_t> Spawn(ChildTag tag);
  pid_t TakeSpawned(uint32_t cell, uint32_t* serial, ChildTag tag);
  void Announce(net::Instant now, Events& events);
  void ZygoteEnded(net::Instant now);
  bool Succeed(net::Instant now);
  bool RenewQueue();
  void MoveMessages(const net::HandoffQueue& from, const net::HandoffQueue& to);
  bool Complete() const;
  absl::Status RequestStandby();
  void Repair(net::Instant now, Events& events);
  absl::Status Replace();
  void Dismiss(net::Instant now);
  void KillStalled(net::Instant now);
  void KillDismissed(net::Instant now);
  void GiveUpQueue(net::Instant now, Events& events);
  void QueueRefuses(Slot slot, net::Connection connection,
                    const absl::Status& why, net::Instant now, Events& events);
  uint32_t NextSerial();
  bool EventsWait(net::Instant now) const {
    return batching_.Waits(now) && HasRoom();
  }
  net::Instant stalled_at() const;
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
