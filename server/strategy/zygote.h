// Zygote: a small process, made when the server was, from which the processes
// for connections are forked.
//
// For programs that have grown: a fork copies the page tables of its parent,
// which takes the longer the more memory that has, and only a single-threaded
// process may fork at all. The zygote stays what the program was at Create().
//
//   supervisor ──connection──▶ [queue] ──▶ zygote ──fork──▶ child
//        ▲                                    │ (doorbell)     │
//        └────────────birth table◀───────────┘                │
//        └──────────────────────its end, by the kernel◀────────┘
//
// The children are the supervisor's own (the kernel's CLONE_PARENT): it reaps
// and signals them as if it had forked them itself, and when the zygote is
// killed, nothing happens to them at all. What waits in the queue stays there.
// A second process, the standby, was forked from the same small program; it
// takes over, and makes an standby for itself. Only if both are gone at once
// must the supervisor make new ones, and can do so only while it is
// single-threaded; until then it accepts nothing.
//
// Lives in the parent, which may have threads. The tag of a child is its slot;
// kZygoteTag and kStandbyTag are those two's.
//
// Errors: Start() gives those of the queues and of proc::Spawner::Spawn, so
// FailedPrecondition in a process that has threads.
//
// Example:
//   Zygote zygote(1000, *std::move(spawner), &reaper, &program, &log);
//   absl::Status started = zygote.Start();   // early
//   ... threads, memory ...
//   zygote.Dispatch(slot, std::move(connection), events);

#ifndef BROOD_SERVER_STRATEGY_ZYGOTE_H_
#define BROOD_SERVER_STRATEGY_ZYGOTE_H_

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "brood/net/connection.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/proc/private_fds.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/log/event_log.h"
#include "brood/server/strategy/spawn_table.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

class Zygote : public Strategy {
 public:
  // How many connections may wait for the zygote; more stay in the kernel's
  // queue.
  static constexpr size_t kMostQueued = 64;
  static constexpr uint32_t kZygoteTag = uint32_t{1} << 31;
  static constexpr uint32_t kStandbyTag = kZygoteTag + 1;

  // For slots 0 to `slots - 1`. Those given by pointer outlive the strategy.
  Zygote(size_t slots, proc::Spawner spawner, proc::Reaper* reaper,
         const ChildProgram* program, EventLog* log);
  ~Zygote() override;

  absl::Status Start() override;
  absl::Status Prepare() override { return absl::OkStatus(); }
  bool HasRoom() const override;
  void Dispatch(Slot slot, net::Connection connection, Events& events) override;
  void ChildEnded(const proc::Reaper::Ended& ended, Events& events) override;
  int fd() const override { return doorbell_.fd(); }
  bool Urgent() const override { return !HasRoom(); }
  void Attend(Events& events) override;
  void Maintain(net::Instant now, bool quiet, Events& events) override;
  net::Instant next_maintenance() const override;
  absl::Status BeginGeneration() override;
  void Close() override { closed_ = true; }

 private:
  // A connection that was given to the zygote.
  struct Pending {
    Slot slot;
    uint32_t serial;
    SpawnTable::Record birth;
  };

  // In the supervisor.
  absl::Status Open();
  absl::Status Spawn();
  void AdoptSpawned();
  void Announce(Events& events);
  void ZygoteEnded();
  bool Complete() const;
  absl::Status MakeComplete();
  void GiveUpQueue(Events& events);
  Pending& pending(size_t place) {
    return pending_[(first_pending_ + place) % kMostQueued];
  }

  // In the zygote and its standby.
  int RunZygote();
  int RunStandby();
  bool DoNextOrder();
  void MakeChild(const net::HandoffQueue::Message& message);
  void MakeStandby(uint32_t serial);
  std::array<int, 3> KeptFds() const;

  const size_t slots_;
  proc::Spawner spawner_;
  proc::Reaper* const reaper_;
  const ChildProgram* const program_;
  EventLog* const log_;

  absl::optional<net::HandoffQueue> queue_;
  absl::optional<net::HandoffQueue> standby_queue_;  // tells the standby
  absl::optional<SpawnTable> spawn_table_;
  net::Socket doorbell_;
  std::array<proc::HiddenFd, 5> hidden_;

  pid_t zygote_pid_ = 0;
  pid_t standby_pid_ = 0;
  uint32_t last_serial_ = 0;
  uint32_t standby_serial_ = 0;  // of the standby that was ordered last

  // Given to the zygote and not announced yet, in this order; of the first
  // known_ of them it is known what became of them.
  std::array<Pending, kMostQueued> pending_;
  size_t first_pending_ = 0;
  size_t pending_count_ = 0;
  size_t known_ = 0;

  net::Instant next_repair_ = net::Instant::min();
  bool closed_ = false;
  // Told to leave, or not there yet.
  bool dismissed_ = true;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_ZYGOTE_H_
