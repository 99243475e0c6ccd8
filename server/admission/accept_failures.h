// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_ADMISSION_ACCEPT_FAILURES_H_
#define BROOD_SERVER_ADMISSION_ACCEPT_FAILURES_H_

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/server/admission/gate.h"

namespace brood::server {

// AcceptFailures decides when a listener pauses because accept fails.
//
// Most errors of accept concern one connection, and the next connection is
// accepted at once. But the same errors come from a policy that forbids accept
// on this listener: then each call fails, the queue never becomes empty, and
// poll always reports the listener as readable. So kMost failures without a
// connection between them begin a pause. It has the lengths of the pauses of
// Gate, doubles as long as accept fails, and one failure after it begins the
// next pause. Other listeners are not affected.
//
// Pure: the time is an argument. Lives in the parent.
//
// Example:
//   if (failures.resume_at(now) == net::Never()) TryAccept();
//   ... accept4 failed with EPERM ...
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
  // Records that accept returned a connection, or that the queue was empty.
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
