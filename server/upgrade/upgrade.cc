// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/upgrade.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "brood/proc/sync_point.h"
#include "brood/server/upgrade/handshake.h"

namespace brood::server {

using net::Instant;

absl::StatusOr<std::unique_ptr<Upgrade>> Upgrade::Create(
    const Options& options, ServiceManager* manager, Generations* generations,
    EventLog* log) {
  absl::StatusOr<net::EventFd> ready;
  if (options.upgrade.command.empty()) {
    ready = net::EventFd();
  } else {
    ready = net::EventFd::Create();
  }
  if (!ready.ok()) return ready.status();
  return std::unique_ptr<Upgrade>(
      new Upgrade(options, *std::move(ready), manager, generations, log));
}

Upgrade::Upgrade(const Options& options, net::EventFd ready,
                 ServiceManager* manager, Generations* generations,
                 EventLog* log)
    : has_command_(!options.upgrade.command.empty()),
      timeout_(options.upgrade.timeout),
      manager_(manager),
      generations_(generations),
      log_(log),
      ready_(std::move(ready)) {}

void Upgrade::Start(const std::vector<LentListener>& listeners, Instant now) {
  if (!has_command_) {
    log_->UpgradeIgnored("upgrade.command is empty");
    return;
  }
  if (state_ != State::kIdle) {
    log_->UpgradeIgnored("an upgrade is already in progress");
    return;
  }
  // Discards a notification of an earlier program that came too late. Must
  // happen before the new program starts.
  ready_->Take();
  manager_->Reloading(now);
  absl::StatusOr<pid_t> pid =
      generations_->Start(Handshake::MakeOffer(ready_.fd(), listeners));
  if (!pid.ok()) {
    Fail(pid.status());
    return;
  }
  pid_ = *pid;
  state_ = State::kStarting;
  deadline_ = net::After(now, timeout_);
}

// Records the pid. A program that is known only after the time in which it had
// to be ready is killed.
void Upgrade::Started(pid_t pid) {
  if (state_ != State::kStarting) {
    generations_->Kill(pid);
    return;
  }
  pid_ = pid;
}

void Upgrade::NotStarted(const absl::Status& why) {
  if (state_ != State::kStarting) return;
  // The program of an earlier request, which the main process has started too
  // late.
  if (pid_ != 0) generations_->Kill(pid_);
  Fail(why);
}

bool Upgrade::Step(Instant now) {
  TakeReadiness(now);
  if (now < deadline_) return false;
  if (state_ == State::kProving) return TryHandOver(now);
  const absl::Status why = absl::DeadlineExceededError(
      absl::StrCat("was not ready within ", absl::FormatDuration(timeout_),
                   " (upgrade.timeout)"));
  if (pid_ == 0) {
    Fail(why);
  } else {
    generations_->Kill(pid_);
    EndBecause(why);
  }
  return false;
}

void Upgrade::TakeReadiness(Instant now) {
  if (!AwaitsReadiness() || ready_->Take() == 0) return;
  proc::SyncPoint("upgrade: ready");
  state_ = State::kProving;
  deadline_ = net::After(now, kProof);
  log_->SuccessorReady(pid_);
}

bool Upgrade::TryHandOver(Instant now) {
  proc::SyncPoint("upgrade: about to hand over");
  if (const absl::optional<proc::ExitStatus> status =
          generations_->HandOver(pid_)) {
    Ended(*status, now);
    return false;
  }
  state_ = State::kHandedOver;
  deadline_ = net::Never();
  return true;
}

void Upgrade::ListenersClosed() {
  if (state_ != State::kHandedOver) return;
  state_ = State::kOver;
  ready_->Notify(Handshake::kReleased);
  log_->HandedOver(pid_);
}

void Upgrade::EndBecause(absl::Status why) {
  why_ended_ = std::move(why);
  state_ = State::kEnding;
  deadline_ = net::Never();
}

void Upgrade::Ended(const proc::ExitStatus& status, Instant now) {
  if (state_ == State::kIdle) return;  // it was counted as failed before
  TakeReadiness(now);  // it may have reported just before it ended
  if (state_ == State::kEnding) {
    Fail(why_ended_);
    return;
  }
  Fail(absl::AbortedError(absl::StrCat(
      status.ToString(), state_ == State::kProving ? " just after it was ready"
                                                   : " before it was ready")));
}

void Upgrade::Fail(const absl::Status& why) {
  if (absl::IsCancelled(why)) {
    log_->UpgradeIgnored(why.message());
  } else {
    log_->UpgradeFailed(pid_, why, ++failures_);
    manager_->Ready();
  }
  state_ = State::kIdle;
  pid_ = 0;
  deadline_ = net::Never();
}

void Upgrade::Abandon() {
  if (state_ != State::kStarting && state_ != State::kProving) return;
  // A program that accepts has connections to finish.
  if (state_ == State::kProving) {
    generations_->StopCandidate(pid_);
  } else {
    generations_->Kill(pid_);
  }
  EndBecause(absl::CancelledError("this server is stopping"));
}

}  // namespace brood::server
