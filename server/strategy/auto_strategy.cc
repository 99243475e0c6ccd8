// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/auto_strategy.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>

namespace brood::server {
namespace {

// Returns how many bytes of this process a fork would have to copy the page
// tables of: resident memory that is not a file's. INT64_MAX if unknown.
int64_t OwnMemory() {
  std::FILE* statm = std::fopen("/proc/self/statm", "re");
  if (statm == nullptr) return INT64_MAX;
  long long size, resident, shared;
  const int read =
      std::fscanf(statm, "%lld %lld %lld", &size, &resident, &shared);
  std::fclose(statm);
  if (read != 3) return INT64_MAX;
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

}  // namespace

absl::Status AutoStrategy::Prepare() {
  if (!has_chosen_) {
    has_chosen_ = true;
    if (fork_->Prepare().ok() && OwnMemory() <= largest_to_fork_) {
      chosen_ = fork_.get();
      zygote_->Close();
    }
  }
  return chosen_->Prepare();
}

void AutoStrategy::ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                              net::Instant now, Events& events) {
  const bool serves = tag.kind == ChildTag::Kind::kConnection;
  (serves ? chosen_ : zygote_.get())->ChildEnded(tag, ended, now, events);
}

}  // namespace brood::server
