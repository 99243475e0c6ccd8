// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/zygote/spawn_table.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"

namespace brood::server {

static_assert(sizeof(std::atomic<pid_t>) == sizeof(pid_t) &&
                  std::atomic<pid_t>::is_always_lock_free,
              "the kernel writes a pid into it");

absl::StatusOr<SpawnTable> SpawnTable::Create(size_t cells) {
  const size_t size = cells * sizeof(Cell);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "mmap");
  // The memory is zero, and serial numbers begin at 1, so no cell has a record.
  SpawnTable table(static_cast<Cell*>(memory), cells);
  table.HideFromChildren();
  return table;
}

SpawnTable::SpawnTable(SpawnTable&& other) noexcept
    : cells_(std::exchange(other.cells_, nullptr)), count_(other.count_) {}

SpawnTable::~SpawnTable() {
  if (cells_ != nullptr) munmap(cells_, bytes());
}

pid_t* SpawnTable::Begin(uint32_t slot, uint32_t serial) {
  if (slot >= count_) return nullptr;
  Cell& cell = cells_[slot];
  if (cell.serial != serial) {
    // In this order, so that a reader that sees the new number does not see an
    // old pid.
    cell.pid = 0;
    cell.error = 0;
    cell.at = 0;
    cell.serial = serial;
  }
  if (cell.pid != 0 || cell.error != 0) return nullptr;
  return reinterpret_cast<pid_t*>(&cell.pid);
}

void SpawnTable::Complete(uint32_t slot, int64_t at) { cells_[slot].at = at; }

void SpawnTable::Fail(uint32_t slot, int error) { cells_[slot].error = error; }

SpawnTable::Record SpawnTable::Read(uint32_t slot, uint32_t serial) const {
  if (slot >= count_) return {0, 0, 0};
  const Cell& cell = cells_[slot];
  if (cell.serial != serial) return {0, 0, 0};
  return {cell.pid, cell.error, cell.at};
}

absl::Status SpawnTable::ShareWithChildren() const {
  if (madvise(cells_, bytes(), MADV_DOFORK) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "madvise MADV_DOFORK");
}

void SpawnTable::HideFromChildren() const {
  madvise(cells_, bytes(), MADV_DONTFORK);
}

}  // namespace brood::server
