// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STATUS_SCOREBOARD_H_
#define BROOD_SERVER_STATUS_SCOREBOARD_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/peer_address.h"
#include "brood/proc/exit_status.h"
#include "brood/proc/memory/parent_only.h"
#include "brood/server/status/host_counts.h"
#include "brood/server/totals.h"
#include "brood/server/vocabulary/slot.h"

namespace brood::server {

// Scoreboard has a slot for each connection that runs, and counts every
// connection that was ever accepted.
//
// Lives in the parent, in memory that children do not get; only the supervisor
// changes it. A slot is claimed when a connection is accepted, and freed when
// its process ends or could not be created, so a slot cannot leak. (A worker of
// a pool outlives its connection: its slot is freed by the worker's report, or
// by its exit.) At any time
//
//   accepted = running + ended_ok + ended_error + crashed + killed + unknown
//            + shed + fork_failed
//
// so every accepted connection has exactly one outcome. Allocates nothing after
// its creation. Not thread-safe. Errors: none; to claim a slot when none is
// free, or to retire one twice, is a bug of the caller.
//
// Example:
//   Slot slot = scoreboard.Claim(connection);
//   scoreboard.Started(slot, pid, now);
//   scoreboard.Retire(slot, status);
class Scoreboard {
 public:
  // Entry is the record of a connection.
  struct Entry {
    pid_t pid = 0;                 // 0 while there is no process
    uint32_t page = 0;             // the page to which its handler reports
    bool signalled_by_us = false;  // a signal of ours is no crash
    KillReason kill_reason = KillReason::kStop;
    net::PeerAddress peer;
    net::PeerAddress local;
    uint64_t number = 0;  // 1 for the connection that was accepted first
    // The running connections of its host when it was accepted, with itself.
    uint32_t connections_of_host = 0;
    net::Instant accepted_at;
    net::Instant started_at;                 // when a process got it
    absl::Time started = absl::UnixEpoch();  // the time of day of accept
  };

  // Makes a scoreboard with `max_connections` slots.
  explicit Scoreboard(size_t max_connections);

  // Claims a slot for an accepted connection. The caller has made sure that one
  // is free. `started` is the time of day, for the report.
  Slot Claim(const net::Connection& connection,
             absl::Time started = absl::UnixEpoch());
  // Records that the process `pid` handles the connection of `slot` since
  // `now`, and reports to the page with the number of the slot.
  void Started(Slot slot, pid_t pid, net::Instant now) {
    Started(slot, pid, now, slot);
  }
  // Does the same for a process that reports to `page`.
  void Started(Slot slot, pid_t pid, net::Instant now, uint32_t page) {
    entries_[slot].pid = pid;
    entries_[slot].page = page;
    entries_[slot].started_at = now;
  }
  // Records that the supervisor is about to signal the process of `slot`. The
  // first reason counts.
  void Signalled(Slot slot, KillReason reason);

  // Records how the process of `slot` ended, and frees the slot.
  void Retire(Slot slot, const proc::ExitStatus& status);
  // Frees the slot of a connection whose deadline passed before a process took
  // the connection over, and counts it as killed.
  void RetireExpired(Slot slot);
  // Frees the slot of a connection for which fork failed.
  void RetireForkFailed(Slot slot);
  // Frees the slot of a connection that was closed without a process because
  // the server is terminating.
  void RetireShed(Slot slot);

  // Counts clients that were never accepted because the server stopped.
  void LeftInQueue(size_t clients) { totals_.left_in_queue += clients; }

  // Returns the record of the connection in `slot`.
  const Entry& entry(Slot slot) const { return entries_[slot]; }
  // Returns the counters.
  const Totals& totals() const { return totals_; }
  // Returns the number of slots that are claimed.
  size_t running() const { return totals_.running; }

  // Calls `visit` for each slot that has a process.
  void ForEachLive(absl::FunctionRef<void(Slot, const Entry&)> visit) const;

 private:
  // Counts the connection of `slot` as killed, by the reason in its entry. Does
  // not free the slot.
  void CountKilled(Slot slot);
  // Frees `slot`: its connection is no longer among the running ones, nor among
  // those of its host. The caller counts the outcome.
  void Free(Slot slot);

  proc::ParentOnlyVector<Entry> entries_;
  // A stack: the slot freed last is taken next, while its memory is warm.
  proc::ParentOnlyVector<Slot> free_;
  HostCounts hosts_;
  Totals totals_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STATUS_SCOREBOARD_H_
