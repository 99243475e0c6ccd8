// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/auto_strategy.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace brood::server {
namespace {

// Returns how many bytes of this process are resident and not of a file: a fork
// has to copy their page tables. INT64_MAX if unknown.
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

absl::StatusOr<Rehearsal> AutoStrategy::RehearseAtStart() {
  absl::StatusOr<Rehearsal> rehearsal = zygote_->RehearseAtStart();
  if (!absl::IsUnimplemented(rehearsal.status())) return rehearsal;
  zygote_refused_ = rehearsal.status();
  return Rehearsal();
}

absl::StatusOr<Rehearsal> AutoStrategy::RehearseToServe() {
  absl::StatusOr<Rehearsal> rehearsal = chosen_->RehearseToServe();
  if (!rehearsal.ok() || zygote_refused_.ok()) return rehearsal;
  proc::SpawnFallback& fallback = rehearsal->fallback;
  if (fallback.way.empty()) fallback.way = "clone3";
  absl::StrAppend(&fallback.way, ", without a zygote");
  absl::StrAppend(&fallback.why, fallback.why.empty() ? "" : "; ",
                  zygote_refused_.message());
  return rehearsal;
}

absl::Status AutoStrategy::Prepare() {
  if (!has_chosen_) {
    has_chosen_ = true;
    if (!zygote_refused_.ok() ||
        (fork_->Prepare().ok() && OwnMemory() <= largest_to_fork_)) {
      chosen_ = fork_.get();
      zygote_->Close();
    }
  }
  absl::Status ready = chosen_->Prepare();
  if (ready.ok() || zygote_refused_.ok()) return ready;
  return absl::Status(ready.code(),
                      absl::StrCat(ready.message(), "; here it does not: ",
                                   zygote_refused_.message()));
}

void AutoStrategy::ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                              net::Instant now, Events& events) {
  const bool serves = tag.kind == ChildTag::Kind::kConnection;
  (serves ? chosen_ : zygote_.get())->ChildEnded(tag, ended, now, events);
}

}  // namespace brood::server
