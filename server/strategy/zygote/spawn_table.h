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

// SpawnTable records which process a zygote has created for which slot.
//
// It is memory that the zygote and the supervisor share, with a cell for each
// slot. The kernel writes the pid of a new process into it before that process
// runs. So there is no moment at which a child is alive and not in the table,
// and a zygote that takes over finds what the zygote before it has finished.
//
// Written in the zygote, read in the supervisor; children do not get it. A
// record with another serial number is an old one. A slot may have any value: a
// slot without a cell has no record. Errors: Create() names the call.
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
  // Record is what is known about a process that was requested. All fields are
  // zero if nothing is known.
  struct Record {
    // The process; 0 if there is none, or none yet.
    pid_t pid;
    // The errno with which it could not be created; 0 if it could.
    int error;
    // When it was created, in nanoseconds of the monotonic clock; 0 if the
    // zygote ended before it stored that.
    int64_t at;
  };

  // Returns a table of `cells` cells, which forked processes do not get.
  static absl::StatusOr<SpawnTable> Create(size_t cells);
  // Takes ownership of the memory of `other`, which can only be destroyed from
  // then on.
  SpawnTable(SpawnTable&& other) noexcept;
  SpawnTable& operator=(SpawnTable&&) = delete;
  // Unmaps the table in this process. Other processes that share it keep it.
  ~SpawnTable();

  // Returns where to store the pid of the process that is to be created for
  // number `serial` in `slot`. Returns null if it was created or given up
  // already, or if there is no such slot. Called in the zygote.
  pid_t* Begin(uint32_t slot, uint32_t serial);
  // Records when the process of `slot` was created. Called in the zygote.
  void Complete(uint32_t slot, int64_t at);
  // Records the errno with which the process of `slot` could not be created.
  // Called in the zygote.
  void Fail(uint32_t slot, int error);

  // Returns the number of cells.
  uint32_t size() const { return static_cast<uint32_t>(count_); }

  // Returns the record for number `serial` in `slot`. Called in the supervisor.
  Record Read(uint32_t slot, uint32_t serial) const;

  // Shares the table with processes that are forked from now on. Fails with the
  // errno of madvise; a process that is forked then must not touch the table.
  absl::Status ShareWithChildren() const;
  // Hides the table from processes that are forked from now on. If the kernel
  // cannot, they have memory that they do not need.
  void HideFromChildren() const;

 private:
  // Cell is the Record of a slot, as the processes share it. `serial` is the
  // number to which the other fields belong; 0 if there is no record.
  struct Cell {
    std::atomic<uint32_t> serial;
    std::atomic<pid_t> pid;
    std::atomic<int> error;
    std::atomic<int64_t> at;
  };

  // Takes ownership of `cells`, a mapping of `count` cells that are zero.
  SpawnTable(Cell* cells, size_t count) : cells_(cells), count_(count) {}
  // Returns the size of the mapping in bytes.
  size_t bytes() const { return count_ * sizeof(Cell); }

  Cell* cells_;
  size_t count_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_ZYGOTE_SPAWN_TABLE_H_
