// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_UPGRADE_UPGRADE_CLAIM_H_
#define BROOD_SERVER_UPGRADE_UPGRADE_CLAIM_H_

#include <sys/types.h>

#include <utility>

#include "absl/types/optional.h"

namespace brood::server {

// UpgradeClaim belongs to the only server of a process that can be replaced by
// a new program. If there were two, each would start the program, and each new
// program would take all listeners for its own.
//
// Process: the parent. A claim ends with its object. A process that was forked
// since does not have the claim of its parent, and can make a claim of its own.
// All calls are thread-safe.
//
// Example:
//   absl::optional<UpgradeClaim> claim = UpgradeClaim::TryMake();
//   if (!claim) return absl::InvalidArgumentError("...");
class UpgradeClaim {
 public:
  // Returns the claim of this process, or nothing if an object has it already.
  static absl::optional<UpgradeClaim> TryMake();

  // Takes over the claim of `other`, which then has none.
  UpgradeClaim(UpgradeClaim&& other) noexcept
      : process_(std::exchange(other.process_, 0)) {}
  UpgradeClaim& operator=(UpgradeClaim&&) = delete;
  // Ends the claim, unless another process made it.
  ~UpgradeClaim();

 private:
  // Owns the claim that TryMake() has made for the process `process`.
  explicit UpgradeClaim(pid_t process) : process_(process) {}

  // The process that made the claim, 0 if it was moved to another object.
  pid_t process_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_UPGRADE_UPGRADE_CLAIM_H_
