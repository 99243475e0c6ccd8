// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_ZYGOTE_SPAWN_TABLE_H_
#define BROOD_SERVER_STRATEGY_ZYGOTE_SPAWN_TABLE_H_

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace brood::server {

// SpawnTable is which process a zygote created for which slot.
//
// It is memory that the zygote and the supervisor share, with a cell for each
// slot. The kernel writes the pid of a new process into it, before that process
// runs. So there is no moment at which a child lives and the table does not say
// so, and a zygote that takes over sees what the one before had finished.
//
// Written in the zygote, read in the supervisor; children do not get it. A
// record of another serial number is an old one. A slot may have any value: one
// without a cell has no record. Errors: Create() names the call.
//
// Example:
//   absl::StatusOr<SpawnTable> table = SpawnTable::Create(slots);
//   ... in the zygote:
//   if (pid_t* pid = table->Begin(slot, serial)) {
//     spawner.SpawnSibling(body, pid);
//   }
//   ... in the supervisor:
//   SpawnTable::Record created = table->Read(slot, serial);
class SpawnTable {
 public:
  // What is known about a process that was asked for. All fields are zero if
  // nothing is.
  struct Record {
    // The process; 0 if there is none, or none yet.
    pid_t pid;
    // The errno with which it could not be created; 0 if it could.
    int error;
    // When it was created, in nanoseconds of the monotonic clock; 0 if the
    // zygote had no time to say.
    int64_t at;
  };

  // Maps a table of `cells` cells, which processes that are forked do not get.
  static absl::StatusOr<SpawnTable> Create(size_t cells);
  SpawnTable(SpawnTable&& other) noexcept;
  SpawnTable& operator=(SpawnTable&&) = delete;
  ~SpawnTable();

  // Returns where the pid goes of the process that is to be created for number
  // `serial` in `slot`. Returns null if it was created, or given up, already,
  // or there is no such slot. In the zygote.
  pid_t* Begin(uint32_t slot, uint32_t serial);
  // Records when the process of `slot` was created. In the zygote.
  void Complete(uint32_t slot, int64_t at);
  // Records the errno with which it could not be created. In the zygote.
  void Fail(uint32_t slot, int error);

  // Returns the number of cells.
  uint32_t size() const { return static_cast<uint32_t>(count_); }

  // Returns the record for number `serial` in `slot`. In the supervisor.
  Record Read(uint32_t slot, uint32_t serial) const;

  // Gives the table to processes that are forked from now on. A process that
  // was forked without it must not touch it. Fails with the errno of madvise.
  absl::Status ShareWithChildren() const;
  // Keeps the table from processes that are forked from now on, if the kernel
  // can.
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

#endif  // BROOD_SERVER_STRATEGY_ZYGOTE_SPAWN_TABLE_H_
