// SpawnTable: which process a zygote made for which slot.
//
// Memory that the zygote and the supervisor share, a cell for each slot. It is
// the kernel that writes a newborn's pid into it, before the newborn runs; so
// there is no moment at which a child lives and the table does not say so,
// even if the zygote is killed while it makes one. A zygote that takes over can
// tell from it what the one before had finished.
//
// Written in the zygote, read in the supervisor; children do not get it. Each
// entry names the serial number of what it was made for: one of another number
// is an old one.
//
// Errors: Create() names the call.
//
// Example:
//   absl::StatusOr<SpawnTable> table = SpawnTable::Create(slots);
//   ... in the zygote:
//   if (pid_t* pid = table->Begin(slot, serial)) spawner.SpawnSibling(body,
//   pid);
//   ... in the supervisor:
//   SpawnTable::Record birth = table->Read(slot, serial);

#ifndef BROOD_SERVER_STRATEGY_SPAWN_TABLE_H_
#define BROOD_SERVER_STRATEGY_SPAWN_TABLE_H_

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace brood::server {

class SpawnTable {
 public:
  // pid: of the process that was made; error: the errno if none could be. Both
  // zero: not yet. at: when it was made, in nanoseconds of the monotonic clock;
  // zero if the zygote had no time to say.
  struct Record {
    pid_t pid;
    int error;
    int64_t at;
  };

  static absl::StatusOr<SpawnTable> Create(size_t cells);
  SpawnTable(SpawnTable&& other) noexcept;
  SpawnTable& operator=(SpawnTable&&) = delete;
  ~SpawnTable();

  // In the zygote: where the pid goes of the process to be made for number
  // `serial` in `slot`. Null if that was made, or given up, already.
  pid_t* Begin(uint32_t slot, uint32_t serial);
  void Complete(uint32_t slot, int64_t at);
  void Fail(uint32_t slot, int error);

  // Returns the number of cells.
  uint32_t size() const { return static_cast<uint32_t>(count_); }

  // In the supervisor.
  Record Read(uint32_t slot, uint32_t serial) const;

  // Whether processes forked from now on get it. At first they do not. To share
  // it can fail, and whoever is forked without it must not touch it; not to
  // share it no more is but thrift.
  absl::Status ShareWithChildren() const;
  void HideFromChildren() const;

 private:
  struct Cell {
    std::atomic<uint32_t> serial;
    std::atomic<pid_t> pid;
    std::atomic<int> error;
    std::atomic<int64_t> at;
  };

  SpawnTable(Cell* cells, size_t count) : cells_(cells), count_(count) {}
  size_t bytes() const { return count_ * sizeof(Cell); }

  Cell* cells_;
  size_t count_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_SPAWN_TABLE_H_
