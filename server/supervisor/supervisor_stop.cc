// SPDX-License-Identifier: Apache-2.0

// The steps of the supervisor that stop the server.

#include <sys/types.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <utility>

#include "absl/types/span.h"
#include "brood/proc/sync_point.h"
#include "brood/server/supervisor/supervisor.h"

namespace brood::server {

using net::Instant;
using proc::SyncPoint;

// Takes turns until the lifecycle has stopped, which happens in any case.
Supervisor::~Supervisor() {
  RequestStop(clock_());
  lifecycle_.Abort(clock_());
  while (Turn(Lifecycle::kKillDelay)) {
  }
}

void Supervisor::StepLifecycle(Instant now) {
  while (!lifecycle_.stopped()) {
    switch (lifecycle_.Step(now, LiveChildren())) {
      case Lifecycle::Action::kNone:
        if (lifecycle_.stopped()) log_.Stopped(connections_.totals());
        return;
      case Lifecycle::Action::kReport:
        if (LiveChildren() > 0) log_.WaitingForChildren(connections_.running());
        break;
      case Lifecycle::Action::kTerminate:
        CountLeftInQueue();
        CloseListeners();
        if (LiveChildren() == 0) break;
        log_.Terminating(connections_.running());
        SyncPoint("supervisor: about to terminate");
        connections_.SignalChildren(SIGTERM);
        // A stopped child receives SIGTERM only after SIGCONT.
        connections_.SignalChildren(SIGCONT);
        break;
      case Lifecycle::Action::kKill:
        Kill(now);
        break;
      case Lifecycle::Action::kGiveUp:
        gave_up_ = true;
        GiveUpChildren();
        break;
    }
  }
}

// A child cannot be killed if it belongs to another user, or while the kernel
// makes it wait for a device.
void Supervisor::Kill(Instant now) {
  if (!std::exchange(killing_, true)) log_.Killing(connections_.running());
  connections_.SignalChildren(SIGKILL);
  generations_->KillAll(now);
  unkillable_looks_ = reaper_->HasOnlyUnkillable() ? unkillable_looks_ + 1 : 0;
  if (unkillable_looks_ >= Lifecycle::kLooks) GiveUpChildren();
}

void Supervisor::GiveUpChildren() {
  std::array<pid_t, kMostNamed> pids;
  const size_t count = reaper_->GiveUp(absl::MakeSpan(pids));
  if (count == 0) return;
  log_.LeftBehind(count,
                  absl::MakeSpan(pids).first(std::min(count, kMostNamed)));
}

size_t Supervisor::LiveChildren() const {
  if (gave_up_) return reaper_->live();
  return std::max(connections_.running(), reaper_->live()) +
         (stopping_ ? generations_->awaited() : 0);
}

}  // namespace brood::server
