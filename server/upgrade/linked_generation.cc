// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/linked_generation.h"

#include <sys/resource.h>

namespace brood::server {

using Kind = GenerationLink::Kind;

absl::StatusOr<pid_t> LinkedGeneration::Start(const Handshake::Offer& offer) {
  for (const int fd : offer.fds) {
    absl::Status sent = link_.Send({Kind::kDescriptor}, "", fd);
    if (!sent.ok()) return sent;
  }
  absl::Status sent = link_.Send({Kind::kStart}, offer.variable);
  if (!sent.ok()) return sent;
  return 0;
}

void LinkedGeneration::Kill(pid_t pid) {
  link_.Send({Kind::kKill, pid}).IgnoreError();
}

void LinkedGeneration::StopCandidate(pid_t /*pid*/) {
  // The main process passes the request to the candidate, too, as it did to
  // this program.
}

absl::optional<proc::ExitStatus> LinkedGeneration::HandOver(pid_t pid) {
  link_.Send({Kind::kTookOver, pid}).IgnoreError();
  candidate_ = 0;
  return absl::nullopt;
}

// Passes requests to the main process. Returns the requests that cannot be
// sent, for this program to fulfil.
Requests::Taken LinkedGeneration::Route(Requests::Taken asked) {
  if (asked.stops > 0 && link_.Send({Kind::kStop, 0, asked.stops}).ok()) {
    asked.stops = 0;
  }
  if (asked.upgrade && link_.Send({Kind::kUpgrade}).ok()) {
    asked.upgrade = false;
  }
  return asked;
}

Generations::Messages LinkedGeneration::Attend() {
  Messages messages;
  if (link_.closed()) return messages;
  while (const auto message = link_.Receive()) {
    switch (message->kind) {
      case Kind::kStop:
        messages.stops += message->value;
        break;
      case Kind::kUpgrade:
        messages.upgrade = true;
        break;
      case Kind::kStarted:
        candidate_ = message->pid;
        messages.started = candidate_;
        break;
      case Kind::kNotStarted:
        messages.not_started = absl::AbortedError(message->text);
        break;
      case Kind::kEnded:
        if (message->pid != candidate_) break;
        candidate_ = 0;
        messages.ended = proc::ExitStatus::FromWait(message->value, rusage());
        break;
      case Kind::kDescriptor:
      case Kind::kStart:
      case Kind::kTookOver:
      case Kind::kKill:
        break;  // only a generation sends these
    }
  }
  messages.main_process_ended = link_.closed();
  return messages;
}

}  // namespace brood::server
