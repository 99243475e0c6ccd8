// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PROCESS_SUBREAPER_CLAIM_H_
#define BROOD_SERVER_PROCESS_SUBREAPER_CLAIM_H_

#include <memory>

#include "absl/status/statusor.h"

namespace brood::server {

// SubreaperClaim makes this process adopt the orphans among its descendants
// while an object lives (PR_SET_CHILD_SUBREAPER).
//
// The attribute belongs to the process. When the last claim ends, the attribute
// is restored to its value before the first claim.
//
// Lives in the parent. Not thread-safe. Errors: the errno of prctl.
//
// Example:
//   auto claim = SubreaperClaim::Make();
//   if (!claim.ok()) return claim.status();
class SubreaperClaim {
 public:
  // Makes this process a subreaper.
  static absl::StatusOr<std::unique_ptr<SubreaperClaim>> Make();
  SubreaperClaim(const SubreaperClaim&) = delete;
  SubreaperClaim& operator=(const SubreaperClaim&) = delete;
  // Ends the claim. The last one restores the attribute.
  ~SubreaperClaim();

 private:
  SubreaperClaim() = default;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_PROCESS_SUBREAPER_CLAIM_H_
