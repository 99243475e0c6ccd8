#include "brood/proc/child_table.h"

#include <utility>

namespace brood::proc {
namespace {

// A power of two, at least twice `count`: probes stay short.
size_t CellsFor(size_t count) {
  size_t cells = 16;
  while (cells < 2 * count) cells *= 2;
  return cells;
}

}  // namespace

ChildTable::ChildTable(size_t expected_children)
    : mask_(CellsFor(expected_children) - 1), cells_(mask_ + 1) {}

void ChildTable::Insert(Child child, uint32_t tag) {
  if (2 * (size_ + 1) > cells_.size()) Grow();
  size_t cell = HomeOf(child.pid());
  while (cells_[cell].child.pid() != 0) cell = (cell + 1) & mask_;
  cells_[cell].child = std::move(child);
  cells_[cell].tag = tag;
  ++size_;
}

ChildTable::Entry* ChildTable::Find(pid_t pid) {
  if (pid <= 0) return nullptr;
  for (size_t cell = HomeOf(pid);; cell = (cell + 1) & mask_) {
    const pid_t here = cells_[cell].child.pid();
    if (here == pid) return &cells_[cell];
    if (here == 0) return nullptr;
  }
}

void ChildTable::Remove(Entry* entry) {
  // Close the gap: an entry further along the run moves into it, unless its
  // home lies behind the gap, where a search for it would never pass.
  size_t gap = static_cast<size_t>(entry - cells_.data());
  for (size_t cell = (gap + 1) & mask_; cells_[cell].child.pid() != 0;
       cell = (cell + 1) & mask_) {
    const size_t distance_from_home =
        (cell - HomeOf(cells_[cell].child.pid())) & mask_;
    const size_t distance_from_gap = (cell - gap) & mask_;
    if (distance_from_home >= distance_from_gap) {
      cells_[gap] = std::move(cells_[cell]);
      gap = cell;
    }
  }
  --size_;
}

void ChildTable::Grow() {
  ChildTable larger(cells_.size());
  for (Entry& entry : cells_) {
    if (entry.child.pid() != 0)
      larger.Insert(std::move(entry.child), entry.tag);
  }
  *this = std::move(larger);
}

}  // namespace brood::proc
