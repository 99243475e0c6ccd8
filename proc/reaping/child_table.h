// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_CHILD_TABLE_H_
#define BROOD_PROC_REAPING_CHILD_TABLE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "brood/proc/child.h"
#include "brood/proc/memory/parent_only.h"

namespace brood::proc {

// ChildTable is which child has which pid, with what its reaper knows of it.
//
// A hash table with open addressing whose hash is the pid itself: the kernel
// hands pids out in sequence, so children of one moment lie side by side, and
// an insertion or a removal touches memory that the one before it warmed. A bit
// for each cell says which are used, so that all children are visited without a
// look at the free cells.
//
// Process: the parent, in memory that children do not get. Allocates only when
// it grows beyond the size that was expected. If there is no memory for that,
// it goes on as it is while more than one cell is free; the program ends when
// there is no more room for a child.
//
// Example:
//   ChildTable table(1000);
//   table.Insert(std::move(child), slot);
//   ChildTable::Entry* entry = table.Find(pid);
//   pid_t reaped = std::move(entry->child).Release();
//   table.Remove(entry);
class ChildTable {
 public:
  struct Entry {
    Child child;
    uint32_t tag = 0;
    // When it was seen first after it had been killed, or looked at last, in
    // tenths of a second of a clock of the reaper's; 0 if it was not.
    uint32_t killed_at = 0;
    // How often it has stopped because this process traces it.
    uint8_t stops = 0;
    // Whether SIGKILL was sent to it, and whether that was refused.
    bool was_killed = false;
    bool was_refused = false;
    // Whether its end was returned although it is still to be reaped.
    bool is_returned = false;
  };

  explicit ChildTable(size_t expected_children);

  // Adds a child, whose pid is not in the table.
  void Insert(Child child, uint32_t tag);
  // Returns the entry of `pid`, or null if there is none. Valid until the next
  // Insert() or Remove().
  Entry* Find(pid_t pid);
  // Forgets an entry that Find() returned, which owns no process any more.
  void Remove(Entry* entry);

  size_t size() const { return size_; }
  // Returns whether the table is so full that no child may be kept in it whose
  // end was returned.
  bool IsCrowded() const { return size_ >= cells_.size() / 4 * 3; }

  size_t cell_count() const { return cells_.size(); }
  // Returns the first cell from `cell` on that is used; cell_count() if none
  // is. A Remove() in between may move a later entry to an earlier cell.
  size_t NextUsed(size_t cell) const;
  // Returns the entry in a cell that is used.
  Entry* At(size_t cell) { return &cells_[cell]; }

 private:
  static constexpr size_t kBits = 64;

  size_t HomeOf(pid_t pid) const { return static_cast<size_t>(pid) & mask_; }
  void Grow();

  size_t size_ = 0;
  size_t mask_;
  ParentOnlyVector<Entry> cells_;
  // A bit for each cell.
  ParentOnlyVector<uint64_t> used_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_CHILD_TABLE_H_
