// SPDX-License-Identifier: Apache-2.0
//
// The first child, which shows that children can be created and that their ends
// are noticed, before the server reports that it is ready.

#include <poll.h>
#include <sys/types.h>

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/proc/reaper.h"
#include "brood/server/supervisor/supervisor.h"

namespace brood::server {
namespace {

// How long a child that does nothing may take to end. If it takes longer, the
// server starts nevertheless, with a warning.
constexpr absl::Duration kRehearsalTimeout = absl::Seconds(1);

// Returns whether every later process would be refused, too. Every other error
// means a shortage, which passes.
bool IsRefusal(const absl::Status& why) {
  return absl::IsInvalidArgument(why) || absl::IsUnimplemented(why) ||
         absl::IsPermissionDenied(why);
}

}  // namespace

absl::Status Supervisor::Rehearse(const absl::StatusOr<Rehearsal>& rehearsal) {
  if (!rehearsal.ok()) {
    if (IsRefusal(rehearsal.status())) return rehearsal.status();
    log_.RehearsalFailed(rehearsal.status());
    return absl::OkStatus();
  }
  if (!rehearsal->fallback.way.empty() && !fallback_logged_) {
    fallback_logged_ = true;
    log_.SpawnFallback(rehearsal->fallback.way, rehearsal->fallback.why);
  }
  if (rehearsal->pid != 0) AwaitRehearsal(rehearsal->pid);
  return absl::OkStatus();
}

// The reaper must notice this end in the way in which it notices every end.
void Supervisor::AwaitRehearsal(pid_t pid) {
  rehearsed_pid_ = pid;
  const net::Instant deadline = net::After(clock_(), kRehearsalTimeout);
  for (net::Instant now = clock_(); now < deadline; now = clock_()) {
    const net::Instant wake = std::min(deadline, reaper_->next_check());
    pollfd exits = {reaper_->fd(), POLLIN, 0};
    // The time is rounded up, so that the check is due then.
    poll(&exits, 1, net::KernelMilliseconds(net::TimeUntil(wake, now)));
    TakeEnds(clock_());
    if (rehearsed_pid_ == 0) return;
  }
  log_.RehearsalFailed(
      absl::DeadlineExceededError("it has not ended within 1 s"));
}

// If the status is unknown, another wait call of this program took it.
void Supervisor::RehearsalEnded(const proc::Reaper::Ended& ended) {
  if (ended.pid == rehearsed_pid_) rehearsed_pid_ = 0;
  if (ended.status.unknown()) return;
  if (ended.status.exited() && ended.status.code() == 0) return;
  log_.RehearsalFailed(
      absl::InternalError(absl::StrCat("it ", ended.status.ToString())));
}

}  // namespace brood::server
