// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_PROC_REAPING_CHILD_TABLE_H_
#define BROOD_PROC_REAPING_CHILD_TABLE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "brood/proc/child.h"
#include "brood/proc/memory/parent_only.h"

namespace brood::proc {

// ChildTable is the table of the children of a reaper, by pid.
//
// A hash table with open addressing whose hash is the pid itself: the kernel
// assigns pids in sequence, so that children of the same time are in adjacent
// cells, which are in the cache of the processor. A bit for each cell shows
// which cells are used, so that a walk over all children skips the free cells.
//
// Lives in the parent, in parent-only memory. Allocates only when it grows
// beyond the expected size. If there is no memory for that, it continues while
// more than one cell is free; the program ends when a child has no room any
// more.
//
// Example:
//   ChildTable table(1000);
//   table.Insert(std::move(child), slot);
//   ChildTable::Entry* entry = table.Find(pid);
//   pid_t reaped = std::move(entry->child).Release();
//   table.Remove(entry);
class ChildTable {
 public:
  // Entry is a child and its state.
  struct Entry {
    // Owns the process.
    Child child;
    // The tag with which the end of the child is returned.
    uint32_t tag = 0;
    // When the reaper first saw the child after it had been killed, or checked
    // it last, in tenths of a second of the clock of the reaper; 0 if never.
    uint32_t killed_at = 0;
    // How often the child has stopped because this process traces it.
    uint8_t stops = 0;
    // Whether SIGKILL was sent to the child.
    bool was_killed = false;
    // Whether the kernel refused to send SIGKILL.
    bool was_refused = false;
    // Whether the end of the child was returned although it is not reaped yet.
    bool is_returned = false;
  };

  // Returns a table with room for `expected_children`.
  explicit ChildTable(size_t expected_children);

  // Adds `child`, whose pid must not be in the table.
  void Insert(Child child, uint32_t tag);
  // Returns the entry of `pid`, or null if there is none. Valid until the next
  // Insert() or Remove().
  Entry* Find(pid_t pid);
  // Removes an entry that Find() returned, and whose child was released.
  void Remove(Entry* entry);

  // Returns the number of children.
  size_t size() const { return size_; }
  // Reports whether the table is so full that it must not keep children whose
  // ends were returned.
  bool IsCrowded() const { return size_ >= cells_.size() / 4 * 3; }

  // Returns the number of cells, used or not.
  size_t cell_count() const { return cells_.size(); }
  // Returns the first used cell from `cell` on; cell_count() if there is none.
  // A Remove() may move a later entry to an earlier cell.
  size_t NextUsed(size_t cell) const;
  // Returns the entry in the used cell `cell`.
  Entry* At(size_t cell) { return &cells_[cell]; }

 private:
  static constexpr size_t kBits = 64;

  // Returns the cell at which a search for `pid` begins.
  size_t HomeOf(pid_t pid) const { return static_cast<size_t>(pid) & mask_; }
  // Doubles the number of cells. If there is no memory for that, does nothing,
  // and throws std::bad_alloc only if one more child would take the last free
  // cell.
  void Grow();

  size_t size_ = 0;
  size_t mask_;
  ParentOnlyVector<Entry> cells_;
  // A bit for each cell: whether it is used.
  ParentOnlyVector<uint64_t> used_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_REAPING_CHILD_TABLE_H_
