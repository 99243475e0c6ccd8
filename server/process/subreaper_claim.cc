// SPDX-License-Identifier: Apache-2.0

#include "brood/server/process/subreaper_claim.h"

#include <sys/prctl.h>

#include <cerrno>

#include "absl/status/status.h"

namespace brood::server {
namespace {

// The number of claims, and whether the process was a subreaper before.
int claims = 0;
bool was_subreaper = false;

}  // namespace

absl::StatusOr<std::unique_ptr<SubreaperClaim>> SubreaperClaim::Make() {
  if (claims == 0) {
    int before = 0;
    if (prctl(PR_GET_CHILD_SUBREAPER, &before) < 0) {
      return absl::ErrnoToStatus(errno, "prctl PR_GET_CHILD_SUBREAPER");
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
      return absl::ErrnoToStatus(errno, "prctl PR_SET_CHILD_SUBREAPER");
    }
    was_subreaper = before != 0;
  }
  ++claims;
  return std::unique_ptr<SubreaperClaim>(new SubreaperClaim);
}

SubreaperClaim::~SubreaperClaim() {
  if (--claims == 0 && !was_subreaper) prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace brood::server
