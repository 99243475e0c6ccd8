#include "brood/server/strategy/spawn_table.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"

namespace brood::server {

static_assert(sizeof(std::atomic<pid_t>) == sizeof(pid_t) &&
                  std::atomic<pid_t>::is_always_lock_free,
              "the kernel writes a pid into it");

absl::StatusOr<BirthLedger> BirthLedger::Create(size_t slots) {
  const size_t size = slots * sizeof(Cell);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "mmap");
  // Zeroed: serial numbers begin at 1.
  BirthLedger ledger(static_cast<Cell*>(memory), size);
  ledger.HideFromChildren();
  return ledger;
}

BirthLedger::BirthLedger(BirthLedger&& other) noexcept
    : cells_(std::exchange(other.cells_, nullptr)), size_(other.size_) {}

BirthLedger::~BirthLedger() {
  if (cells_ != nullptr) munmap(cells_, size_);
}

pid_t* BirthLedger::Open(uint32_t slot, uint32_t serial) {
  Cell& cell = cells_[slot];
  if (cell.serial != serial) {
    // In this order: whoever sees the new number sees no old pid.
    cell.pid = 0;
    cell.error = 0;
    cell.at = 0;
    cell.serial = serial;
  }
  if (cell.pid != 0 || cell.error != 0) return nullptr;
  return reinterpret_cast<pid_t*>(&cell.pid);
}

void BirthLedger::Done(uint32_t slot, int64_t at) { cells_[slot].at = at; }

void BirthLedger::GiveUp(uint32_t slot, int error) {
  cells_[slot].error = error;
}

BirthLedger::Birth BirthLedger::Read(uint32_t slot, uint32_t serial) const {
  const Cell& cell = cells_[slot];
  if (cell.serial != serial) return {0, 0, 0};
  return {cell.pid, cell.error, cell.at};
}

absl::Status BirthLedger::ShareWithChildren() const {
  if (madvise(cells_, size_, MADV_DOFORK) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "madvise MADV_DOFORK");
}

void BirthLedger::HideFromChildren() const {
  madvise(cells_, size_, MADV_DONTFORK);
}

}  // namespace brood::server
