// SPDX-License-Identifier: Apache-2.0

// The steps of the supervisor that concern other programs: the new program,
// older generations, and the main process.

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "brood/server/supervisor/supervisor.h"

namespace brood::server {

using net::Instant;

// Called before the requests are taken, because it may change for which program
// a request is.
void Supervisor::AttendGenerations(Instant now) {
  if (!poll_.IsReadable(kGenerations)) return;
  const Generations::Messages messages = generations_->Attend();
  if (messages.Any()) poll_.Used(kGenerations);
  if (messages.started) upgrade_->Started(*messages.started);
  if (!messages.not_started.ok()) upgrade_->NotStarted(messages.not_started);
  if (messages.ended) upgrade_->Ended(*messages.ended, now);
  for (int i = 0; i < messages.stops; ++i) RequestStop(now);
  if (messages.upgrade) StartUpgrade(now);
  if (messages.main_process_ended) MainProcessEnded(now);
}

void Supervisor::StartUpgrade(Instant now) {
  if (upgrade_->handed_over()) {
    // The main process did not know yet that this program is not the newest
    // one, so the request goes back to it.
    generations_->Route({0, true});
  } else if (lifecycle_.state() == Lifecycle::State::kServing) {
    upgrade_->Start(listeners_.Lend(handshake_.IsSoleHolder()), now);
  } else {
    log_.UpgradeIgnored("this server is stopping");
  }
}

// A new program that has failed may have configured the listeners, which are
// the same open files.
void Supervisor::StepUpgrade(Instant now) {
  const bool handed_over = poll_.Due(kUpgrade, now) && upgrade_->Step(now);
  if (upgrade_->fd() < 0) poll_.Used(kUpgrade);
  const uint64_t failures = upgrade_->failures();
  if (std::exchange(upgrade_failures_seen_, failures) != failures) {
    listeners_.Configure(listener_settings_, &log_);
  }
  if (!handed_over) return;
  lifecycle_.DrainForUpgrade(now);
  DrainListeners(now);
}

void Supervisor::ProgramEnded(const proc::Reaper::Ended& ended, Instant now) {
  switch (generations_->Ended(ended.pid, ended.status)) {
    case Generations::Role::kOld:
      return;
    case Generations::Role::kCandidate:
      upgrade_->Ended(ended.status, now);
      return;
    case Generations::Role::kNewest:
      if (stopping_) return;
      status_ = absl::UnavailableError(absl::StrCat(
          "the program that serves, pid ", ended.pid, ", ",
          ended.status.ToString(), " without having been asked to stop"));
      RequestStop(now);
      return;
  }
}

// The program that started the main process may start the service again, and
// then needs the port, so the listeners are closed without emptying their
// queues.
void Supervisor::MainProcessEnded(Instant now) {
  log_.MainProcessEnded();
  upgrade_->Abandon();
  lifecycle_.DrainForUpgrade(now);
  if (on_parent_death_ == OnParentDeath::kDie) lifecycle_.Abort(now);
  lifecycle_.QueueIsEmpty();
  CloseListeners();
}

}  // namespace brood::server
