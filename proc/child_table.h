// ChildTable: which of our children has which pid, and the caller's tag for it.
//
// Lives in the parent, in memory that children do not get (see
// memory/parent_only.h). A hash table with open addressing whose hash is the
// pid itself: the kernel hands pids out in sequence, so children of one moment
// lie side by side, and a birth or a death touches memory that the one before
// it warmed; a general hash map scatters them. Allocates only when it grows
// past the size said at creation.
//
// Example:
//   ChildTable table(1000);
//   table.Insert(std::move(child), slot);
//   ChildTable::Entry* entry = table.Find(pid);
//   pid_t reaped = std::move(entry->child).Release();
//   table.Remove(entry);

#ifndef BROOD_PROC_CHILD_TABLE_H_
#define BROOD_PROC_CHILD_TABLE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "brood/proc/child.h"
#include "brood/proc/memory/parent_only.h"

namespace brood::proc {

class ChildTable {
 public:
  struct Entry {
    Child child;
    uint32_t tag = 0;
  };

  explicit ChildTable(size_t expected_children);

  void Insert(Child child, uint32_t tag);
  // The entry of `pid`, or null if it is none of ours. Valid until the next
  // Insert or Remove.
  Entry* Find(pid_t pid);
  // Forgets an entry that Find() gave, which owns no process any more.
  void Remove(Entry* entry);

  size_t size() const { return size_; }

  // To look at all of it, piece by piece: the entry in a cell, or null if the
  // cell is empty. A Remove in between may move a later entry to an earlier
  // cell.
  size_t cell_count() const { return cells_.size(); }
  Entry* At(size_t cell) {
    return cells_[cell].child.pid() != 0 ? &cells_[cell] : nullptr;
  }

 private:
  size_t HomeOf(pid_t pid) const { return static_cast<size_t>(pid) & mask_; }
  void Grow();

  size_t size_ = 0;
  size_t mask_;
  ParentOnlyVector<Entry> cells_;
};

}  // namespace brood::proc

#endif  // BROOD_PROC_CHILD_TABLE_H_
