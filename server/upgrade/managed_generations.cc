// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/managed_generations.h"

#include <csignal>
#include <utility>

#include "brood/proc/child.h"
#include "brood/proc/sync_point.h"
#include "brood/server/vocabulary/child_tag.h"

namespace brood::server {

ManagedGenerations::ManagedGenerations(const Options& options,
                                       ServiceManager* manager,
                                       proc::Reaper* reaper, EventLog* log,
                                       StartFunction start)
    : command_(options.upgrade.command),
      notify_socket_(options.notify_socket),
      manager_(manager),
      reaper_(reaper),
      log_(log),
      start_(std::move(start)) {}

absl::StatusOr<pid_t> ManagedGenerations::Start(const Handshake::Offer& offer) {
  const proc::Program program =
      Handshake::MakeProgram(command_, notify_socket_, offer);
  absl::StatusOr<proc::Child> child = start_(program);
  if (!child.ok()) return child.status();
  candidate_ = child->pid();
  proc::SyncPoint("upgrade: started");
  reaper_->Adopt(*std::move(child), ChildTag::Program().Pack());
  log_->UpgradeStarted(candidate_, program.path);
  return candidate_;
}

void ManagedGenerations::Kill(pid_t pid) {
  reaper_->Signal(pid, SIGKILL).IgnoreError();
}

void ManagedGenerations::StopCandidate(pid_t pid) {
  reaper_->Signal(pid, SIGTERM).IgnoreError();
}

// One that died a moment ago, and whose death is not known yet, takes nothing
// over.
absl::optional<proc::ExitStatus> ManagedGenerations::HandOver(pid_t pid) {
  candidate_ = 0;
  if (absl::optional<proc::ExitStatus> status = reaper_->Disown(pid)) {
    return status;
  }
  manager_->MainPid(pid);
  return absl::nullopt;
}

void ManagedGenerations::KillAll(net::Instant /*now*/) {
  if (candidate_ != 0) Kill(candidate_);
}

}  // namespace brood::server
