// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_EVENT_BATCHING_H_
#define BROOD_SERVER_STRATEGY_EVENT_BATCHING_H_

#include "absl/time/time.h"
#include "brood/net/instant.h"

namespace brood::server {

// EventBatching delays the reports of finished work until the next connection,
// which is likely to come soon: one turn then handles both, and the supervisor
// wakes half as often.
//
// Pure: times go in, answers come out. Process: supervisor. For strategies
// whose processes report by a descriptor (pool, zygote).
//
// Example:
//   int fd(Instant now) const override {
//     return batching_.Waits(now) && HasRoom() ? -1 : doorbell_.fd();
//   }
class EventBatching {
 public:
  // The longest that events wait after a connection was dispatched.
  static constexpr absl::Duration kDelay = absl::Milliseconds(2);

  // Lets events wait from `now` on.
  void Dispatched(net::Instant now) { due_ = net::After(now, kDelay); }
  // Returns whether events wait.
  bool Waits(net::Instant now) const { return now < due_; }
  // Returns when events that wait must be processed; Never() if none wait.
  net::Instant due(net::Instant now) const {
    return Waits(now) ? due_ : net::Never();
  }

 private:
  net::Instant due_ = net::Instant::min();
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_EVENT_BATCHING_H_
