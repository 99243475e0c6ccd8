// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_ZYGOTE_PENDING_CHILDREN_H_
#define BROOD_SERVER_STRATEGY_ZYGOTE_PENDING_CHILDREN_H_

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "brood/net/handoff_queue.h"
#include "brood/server/strategy/zygote/spawn_table.h"
#include "brood/server/vocabulary/slot.h"

namespace brood::server {

// PendingChildren is the queue of connections that were given to the zygote,
// and whose children have not been announced yet.
//
// The zygote works in the same order, and writes a record into the table for
// each message before it reads the next one. So if a connection has no record,
// and a later one has, its message was lost: another process removed it from
// the queue of the zygote. Nothing else is concluded from the numbers in the
// table, which may be forged.
//
// Process: supervisor, in parent-only memory. Allocates nothing. No errors.
//
// Example:
//   PendingChildren pending;
//   pending.Add(slot, serial);
//   pending.Read(table, [&](pid_t pid, Slot slot) { Adopt(pid, slot); });
//   while (!pending.empty() && pending.first().is_known()) {
//     Announce(pending.first());
//     pending.RemoveFirst();
//   }
class PendingChildren {
 public:
  // The largest number of connections in the queue.
  static constexpr size_t kMost = 64;

  // Entry is a connection of the queue.
  struct Entry {
    // Identifies the connection in the scoreboard.
    Slot slot;
    // Identifies the message to the zygote.
    uint32_t serial;
    // The record of the table; empty if `is_lost`.
    SpawnTable::Record record;
    // Whether the message was lost, so that no child will be created for it.
    bool is_lost;
    // Whether its message was moved to another queue of the zygote; see
    // MarkRequeued().
    bool is_requeued;

    // Returns whether it is known how the message ended: with a child, with an
    // error, or lost.
    bool is_known() const {
      return is_lost || record.pid != 0 || record.error != 0;
    }
  };

  // Returns the number of connections in the queue.
  size_t size() const { return size_; }
  // Returns whether no connection is in the queue.
  bool empty() const { return size_ == 0; }
  // Returns whether kMost connections are in the queue.
  bool full() const { return size_ == kMost; }
  // Returns the first connection. REQUIRES: not empty().
  const Entry& first() const { return entries_[first_]; }

  // Adds a connection at the end. REQUIRES: not full().
  void Add(Slot slot, uint32_t serial) {
    at(size_++) = {slot, serial, {0, 0, 0}, false, false};
  }
  // Removes the first connection. REQUIRES: not empty().
  void RemoveFirst() {
    first_ = (first_ + 1) % kMost;
    --size_;
  }

  // Reads the records of the connections that are not known yet, and calls
  // `on_child` for each child that has become known.
  void Read(const SpawnTable& table,
            absl::FunctionRef<void(pid_t, Slot)> on_child) {
    for (size_t place = 0; place < size_; ++place) {
      if (!ReadOne(at(place), table, on_child)) continue;
      for (size_t before = 0; before < place; ++before) {
        // Reads the record again: the zygote may have written it since.
        Entry& earlier = at(before);
        if (earlier.is_known() || ReadOne(earlier, table, on_child)) continue;
        earlier.is_lost = true;
      }
    }
  }

  // Marks the connection of `ticket`, whose message was moved to another queue.
  // Returns false if there is no such connection, or if it is known already.
  bool MarkRequeued(const net::HandoffQueue::Ticket& ticket) {
    for (size_t place = 0; place < size_; ++place) {
      Entry& entry = at(place);
      if (entry.slot != ticket.slot || entry.serial != ticket.serial) continue;
      return !entry.is_known() && (entry.is_requeued = true);
    }
    return false;
  }
  // Treats every connection that is neither known nor marked as lost, and
  // removes the marks.
  void LoseOthers() {
    for (size_t place = 0; place < size_; ++place) {
      Entry& entry = at(place);
      if (!entry.is_known() && !entry.is_requeued) entry.is_lost = true;
      entry.is_requeued = false;
    }
  }

 private:
  // Returns the entry that is `place` entries behind the first one; for size(),
  // the place of the entry that is added next.
  Entry& at(size_t place) { return entries_[(first_ + place) % kMost]; }

  // Returns whether a record of `entry` was found that was not known before.
  static bool ReadOne(Entry& entry, const SpawnTable& table,
                      absl::FunctionRef<void(pid_t, Slot)> on_child) {
    if (entry.is_known()) return false;
    entry.record = table.Read(entry.slot, entry.serial);
    if (entry.record.pid != 0) on_child(entry.record.pid, entry.slot);
    return entry.is_known();
  }

  std::array<Entry, kMost> entries_;
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_ZYGOTE_PENDING_CHILDREN_H_
