// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_STRATEGY_AUTO_STRATEGY_H_
#define BROOD_SERVER_STRATEGY_AUTO_STRATEGY_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/reaper.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

// AutoStrategy forks from a zygote in a large or threaded program, and from the
// program itself in a small one.
//
// It creates the zygote when the server is created, while the program is small,
// and decides when the server begins to serve. If the process has threads by
// then, or much memory, the zygote forks. Otherwise, and on a machine where no
// zygote works, the zygote is told to exit, and the process forks for itself.
//
// Process: supervisor. Errors: those of both strategies.
//
// Example: see make_strategy.cc.
class AutoStrategy : public Strategy {
 public:
  // Makes the strategy of `zygote` and `fork`. A process with more than
  // `largest_to_fork` bytes of its own is not forked itself.
  AutoStrategy(std::unique_ptr<Strategy> zygote, std::unique_ptr<Strategy> fork,
               int64_t largest_to_fork)
      : zygote_(std::move(zygote)),
        fork_(std::move(fork)),
        largest_to_fork_(largest_to_fork) {}

  absl::Status Start() override { return zygote_->Start(); }
  absl::StatusOr<Rehearsal> RehearseAtStart() override;
  absl::StatusOr<Rehearsal> RehearseToServe() override;
  absl::Status Prepare() override;
  absl::Status IdentityChanged(absl::string_view what) override {
    return chosen_->IdentityChanged(what);
  }
  bool HasRoom() const override { return chosen_->HasRoom(); }
  void Dispatch(Slot slot, net::Connection connection, net::Instant now,
                Events& events) override {
    chosen_->Dispatch(slot, std::move(connection), now, events);
  }
  void AdoptSpawned() override { zygote_->AdoptSpawned(); }
  void ChildEnded(ChildTag tag, const proc::Reaper::Ended& ended,
                  net::Instant now, Events& events) override;
  int fd(net::Instant now) const override { return zygote_->fd(now); }
  net::Instant alarm(net::Instant now) const override {
    return zygote_->alarm(now);
  }
  void Attend(net::Instant now, Events& events) override {
    zygote_->Attend(now, events);
  }
  void Maintain(net::Instant now, bool idle, Events& events) override {
    zygote_->Maintain(now, idle, events);
  }
  absl::Status BeginGeneration() override { return chosen_->BeginGeneration(); }
  void Close() override { zygote_->Close(); }

 private:
  const std::unique_ptr<Strategy> zygote_;
  const std::unique_ptr<Strategy> fork_;
  const int64_t largest_to_fork_;
  Strategy* chosen_ = zygote_.get();
  bool has_chosen_ = false;
  // Why no zygote works on this machine.
  absl::Status zygote_refused_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_AUTO_STRATEGY_H_
