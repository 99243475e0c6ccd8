// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_ADMISSION_ACCEPT_FAILURES_H_
#define BROOD_SERVER_ADMISSION_ACCEPT_FAILURES_H_

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/server/admission/gate.h"

namespace brood::server {

// AcceptFailures decides when a listener rests because accept fails.
//
// Most errors of accept are those of one connection, and the next one is
// accepted at once. But the same errors come from a policy that forbids accept
// on this listener: each call fails then, the queue never becomes empty, and
// poll reports it as readable for ever. So kMost failures without a connection
// between them are a pause. It has the lengths of the pauses of Gate, doubles
// as long as accept fails, and one failure after it begins the next one. Other
// listeners go on.
//
// Pure: the time goes in. Lives in the parent.
//
// Example:
//   if (failures.resume_at(now) == net::Never()) TryAccept();
//   ... accept4 said EPERM ...
//   absl::optional<absl::Duration> pause = failures.Failed(now);
class AcceptFailures {
 public:
  // The number of failures in a row after which there is a pause. More clients
  // than this do not usually fail one after the other.
  static constexpr int kMost = 64;

  // Counts a failure. Returns the length of the pause that begins now; nothing
  // if the next connection is to be accepted at once.
  absl::optional<absl::Duration> Failed(net::Instant now) {
    if (++failures_ < kMost) return absl::nullopt;
    failures_ = kMost;
    return gate_.Pause(now);
  }
  // Notes that there was a connection, or none that waited.
  void Succeeded() {
    failures_ = 0;
    gate_.Succeeded();
    gate_.ChildEnded();  // ends the pause
  }
  // Returns when the pause ends; Never() if there is none.
  net::Instant resume_at(net::Instant now) const {
    return gate_.resume_at(now);
  }

 private:
  int failures_ = 0;
  Gate gate_{/*max_connections=*/1};
};

}  // namespace brood::server

#endif  // BROOD_SERVER_ADMISSION_ACCEPT_FAILURES_H_
