#include "brood/server/strategy/auto_strategy.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>

namespace brood::server {
namespace {

// The memory of this process that a fork would have to copy the page tables of:
// what is resident and not a file's. Beyond measure if that can't be known.
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
    if (fork_.Prepare().ok() && OwnMemory() <= largest_to_fork_) {
      chosen_ = &fork_;
      zygote_->Close();
    }
  }
  return chosen_->Prepare();
}

void AutoStrategy::ChildEnded(const proc::Reaper::Ended& ended,
                              Events& events) {
  if (ended.tag == Zygote::kZygoteTag || ended.tag == Zygote::kStandbyTag) {
    zygote_->ChildEnded(ended, events);
  } else {
    chosen_->ChildEnded(ended, events);
  }
}

}  // namespace brood::server
