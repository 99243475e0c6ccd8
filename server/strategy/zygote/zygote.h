// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_ZYGOTE_H_
#define BROOD_SERVER_STRATEGY_ZYGOTE_H_

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/reaper.h"
#include "brood/server/strategy/event_batching.h"
#include "brood/server/strategy/spawn_table.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/strategy/zygote_process.h"

namespace brood::server {

// Zygote gives connections to a small process that was created with the server
// and that forks a child for each: for programs with threads or much memory.
//
//   supervisor ──connection──▶ [queue] ──▶ zygote ──fork──▶ child
//        ▲                                   │ (doorbell)     │
//        ├───────────── spawn table ◀────────┘                │
//        └────────────── exit notice, by the kernel ◀─────────┘
//
// The children are the supervisor's own (CLONE_PARENT): it reaps and signals
// them, and they outlive the zygote. If the zygote is killed, the standby takes
// over and finds the queue as it was. If both are gone, the supervisor creates
// new ones while it is single-threaded, and accepts nothing until then.
//
// Where the kernel or a policy refuses CLONE_PARENT, RehearseAtStart() returns
// Unimplemented.
//
// Process: supervisor, which may have threads, in parent-only memory;
// zygote_process.h is what runs in the zygote. Tags: kConnection, kZygote,
// kStandby. Errors: those of the queues and of Spawner::Spawn.
//
// Example:
//   Zygote zygote(1000, environment);
//   absl::Status started = zygote.Start();   // early
//   ... threads, memory ...
//   zygote.Dispatch(slot, std::move(connection), now, events);
class Zygote : public Strategy, public proc::ParentOnly {
 public:
  // How many connections may wait for the zygote; more stay in the kernel's
  // queue.
  static constexpr size_t kMostQueued = 64;

  // For slots 0 to `slots - 1`.
  Zygote(size_t slots, const StrategyEnvironment& environment);

  absl::Status Start() override;
  absl::StatusOr<Rehearsal> RehearseAtStart() override;
  absl::Status Prepare() override { return absl::OkStatus(); }
  bool HasRoom() const override {
    return zygote_pid_ != 0 && pending_count_ < kMostQueued;
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

 private:
  // A connection that was given to the zygote.
  struct Pending {
    Slot slot;
    uint32_t serial;
    SpawnTable::Record record;
  };

  absl::Status Open();
  absl::Status SpawnMissing();
  absl::StatusOr<pid_t> Spawn(ChildTag tag);
  pid_t TakeSpawned(uint32_t cell, uint32_t* serial, ChildTag tag);
  void Announce(net::Instant now, Events& events);
  void ZygoteEnded();
  void PromoteStandby();
  bool Complete() const;
  absl::Status RequestStandby();
  void Repair(net::Instant now, Events& events);
  void Dismiss();
  void GiveUpQueue(net::Instant now, Events& events);
  uint32_t NextSerial();
  bool EventsWait(net::Instant now) const {
    return batching_.Waits(now) && HasRoom();
  }
  net::Instant repair_alarm() const;
  Pending& pending(size_t place) {
    return pending_[(first_pending_ + place) % kMostQueued];
  }
  void PopPending();

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

  // Connections that were given to the zygote and not announced yet, in this
  // order; the records of the first known_ of them are complete.
  std::array<Pending, kMostQueued> pending_;
  size_t first_pending_ = 0;
  size_t pending_count_ = 0;
  size_t known_ = 0;

  EventBatching batching_;
  net::Instant next_repair_ = net::Instant::min();
  bool closed_ = false;
  // Whether the zygote was told to exit, or does not exist yet.
  bool dismissed_ = true;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_ZYGOTE_H_
