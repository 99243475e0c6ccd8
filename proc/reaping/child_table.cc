// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/reaping/child_table.h"

#include <new>
#include <utility>

namespace brood::proc {
namespace {

// Returns a power of two that is at least twice `count`, so that searches are
// short.
size_t CellsFor(size_t count) {
  size_t cells = 64;
  while (cells < 2 * count) cells *= 2;
  return cells;
}

uint64_t BitOf(size_t cell) { return uint64_t{1} << (cell % 64); }

}  // namespace

ChildTable::ChildTable(size_t expected_children)
    : mask_(CellsFor(expected_children) - 1),
      cells_(mask_ + 1),
      used_(cells_.size() / kBits) {}

void ChildTable::Insert(Child child, uint32_t tag) {
  if (2 * (size_ + 1) > cells_.size()) Grow();
  size_t cell = HomeOf(child.pid());
  while (cells_[cell].child.pid() != 0) cell = (cell + 1) & mask_;
  Entry& entry = cells_[cell];
  entry = Entry();
  entry.child = std::move(child);
  entry.tag = tag;
  used_[cell / kBits] |= BitOf(cell);
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
  // Close the gap: move an entry from further along the run into it, unless the
  // home of that entry is behind the gap, because a search for it starts there.
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
  used_[gap / kBits] &= ~BitOf(gap);
  --size_;
}

size_t ChildTable::NextUsed(size_t cell) const {
  if (cell >= cells_.size()) return cells_.size();
  size_t word = cell / kBits;
  uint64_t bits = used_[word] & ~(BitOf(cell) - 1);
  while (bits == 0) {
    if (++word == used_.size()) return cells_.size();
    bits = used_[word];
  }
  return word * kBits + static_cast<size_t>(__builtin_ctzll(bits));
}

// At least one cell must stay free, because a search ends at a free cell.
void ChildTable::Grow() try {
  ChildTable larger(cells_.size());
  for (size_t cell = NextUsed(0); cell < cells_.size();
       cell = NextUsed(cell + 1)) {
    Entry& from = cells_[cell];
    size_t to = larger.HomeOf(from.child.pid());
    while (larger.cells_[to].child.pid() != 0) to = (to + 1) & larger.mask_;
    larger.cells_[to] = std::move(from);
    larger.used_[to / kBits] |= BitOf(to);
  }
  larger.size_ = size_;
  *this = std::move(larger);
} catch (const std::bad_alloc&) {
  if (size_ + 1 >= cells_.size()) throw;
}

}  // namespace brood::proc
