// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/upgrade.h"

#include <unistd.h>

#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "brood/proc/sync_point.h"
#include "brood/server/upgrade/handshake.h"
#include "brood/server/vocabulary/child_tag.h"

namespace brood::server {

using net::Instant;

absl::StatusOr<std::unique_ptr<Upgrade>> Upgrade::Create(
    const Options& options, ServiceManager* manager, proc::Reaper* reaper,
    EventLog* log, StartFunction start) {
  absl::StatusOr<net::EventFd> ready;
  if (options.upgrade.command.empty()) {
    ready = net::EventFd();
  } else {
    ready = net::EventFd::Create();
  }
  if (!ready.ok()) return ready.status();
  return std::unique_ptr<Upgrade>(new Upgrade(
      options, *std::move(ready), manager, reaper, log, std::move(start)));
}

Upgrade::Upgrade(const Options& options, net::EventFd ready,
                 ServiceManager* manager, proc::Reaper* reaper, EventLog* log,
                 StartFunction start)
    : command_(options.upgrade.command),
      timeout_(options.upgrade.timeout),
      notify_socket_(options.notify_socket),
      manager_(manager),
      reaper_(reaper),
      log_(log),
      start_(std::move(start)),
      ready_(std::move(ready)) {}

void Upgrade::Start(const std::vector<LentListener>& listeners, Instant now) {
  if (command_.empty()) {
    log_->UpgradeIgnored("upgrade.command is empty");
    return;
  }
  if (state_ != State::kIdle) {
    log_->UpgradeIgnored("an upgrade is already in progress");
    return;
  }
  // The end of PID 1 is the end of its namespace, children and all.
  if (getpid() == 1) {
    log_->UpgradeIgnored("not supported as PID 1");
    return;
  }
  // Discards a notification of an earlier program that came too late. Must
  // happen before the new program starts.
  ready_->Take();
  const proc::Program program = ProgramWith(listeners);
  manager_->Reloading(now);
  absl::StatusOr<proc::Child> child = start_(program);
  if (!child.ok()) {
    Fail(child.status());
    return;
  }
  pid_ = child->pid();
  proc::SyncPoint("upgrade: started");
  reaper_->Adopt(*std::move(child), ChildTag::Program().Pack());
  state_ = State::kStarting;
  deadline_ = net::After(now, timeout_);
  log_->UpgradeStarted(pid_, program.path);
}

proc::Program Upgrade::ProgramWith(
    const std::vector<LentListener>& listeners) const {
  proc::Program program;
  program.path = command_.front();
  program.arguments = command_;
  Handshake::Send(ready_.fd(), listeners, &program);
  if (!notify_socket_.empty()) {
    // This program has taken the variable from its environment.
    program.environment.push_back(
        absl::StrCat("NOTIFY_SOCKET=", notify_socket_));
  }
  // A signal that comes before the program listens to signals would kill it:
  // it waits.
  program.blocked_signals = {SIGHUP, SIGUSR2};
  return program;
}

bool Upgrade::Step(Instant now) {
  TakeReadiness(now);
  if (now < deadline_) return false;
  if (state_ == State::kProving) return TryHandOver(now);
  End(SIGKILL, absl::DeadlineExceededError(absl::StrCat(
                   "was not ready within ", absl::FormatDuration(timeout_),
                   " (upgrade.timeout)")));
  return false;
}

void Upgrade::TakeReadiness(Instant now) {
  if (state_ != State::kStarting || ready_->Take() == 0) return;
  proc::SyncPoint("upgrade: ready");
  state_ = State::kProving;
  deadline_ = net::After(now, kProof);
  log_->SuccessorReady(pid_);
}

// One that died a moment ago, and whose death is not known yet, takes nothing
// over.
bool Upgrade::TryHandOver(Instant now) {
  proc::SyncPoint("upgrade: about to hand over");
  if (const absl::optional<proc::ExitStatus> status = reaper_->Disown(pid_)) {
    Ended(*status, now);
    return false;
  }
  state_ = State::kHandedOver;
  deadline_ = net::Never();
  manager_->MainPid(pid_);
  return true;
}

void Upgrade::ListenersClosed() {
  if (state_ != State::kHandedOver) return;
  state_ = State::kOver;
  ready_->Notify(Handshake::kReleased);
  log_->HandedOver(pid_);
}

void Upgrade::End(int signal, absl::Status why) {
  why_ended_ = std::move(why);
  state_ = State::kEnding;
  deadline_ = net::Never();
  reaper_->Signal(pid_, signal).IgnoreError();
}

void Upgrade::Ended(const proc::ExitStatus& status, Instant now) {
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
  // One that accepts has connections to finish.
  const int signal = state_ == State::kStarting ? SIGKILL : SIGTERM;
  End(signal, absl::CancelledError("this server is stopping"));
}

}  // namespace brood::server
