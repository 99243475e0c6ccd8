// AutoStrategy: the strategy "auto".
//
// Makes a zygote when the server is created, for then is the time for it, and
// decides when the server begins to serve: if the process has threads by then,
// or much memory, processes come from the zygote; if it stayed small, the
// zygote is sent home and the process forks them itself.
//
// Lives in the parent. Errors: those of Zygote and ForkPerConnection.
//
// Example: see make_strategy.cc.

#ifndef BROOD_SERVER_STRATEGY_AUTO_STRATEGY_H_
#define BROOD_SERVER_STRATEGY_AUTO_STRATEGY_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/reaper.h"
#include "brood/server/strategy/fork_per_connection.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/strategy/zygote.h"

namespace brood::server {

class AutoStrategy : public Strategy {
 public:
  // A process with more than `largest_to_fork` bytes of its own is not forked.
  AutoStrategy(std::unique_ptr<Zygote> zygote, ForkPerConnection fork,
               int64_t largest_to_fork)
      : zygote_(std::move(zygote)),
        fork_(std::move(fork)),
        largest_to_fork_(largest_to_fork) {}

  absl::Status Start() override { return zygote_->Start(); }
  absl::Status Prepare() override;
  bool HasRoom() const override { return chosen_->HasRoom(); }
  void Dispatch(Slot slot, net::Connection connection,
                Events& events) override {
    chosen_->Dispatch(slot, std::move(connection), events);
  }
  void ChildEnded(const proc::Reaper::Ended& ended, Events& events) override;
  int fd() const override { return zygote_->fd(); }
  bool Urgent() const override { return zygote_->Urgent(); }
  void Attend(Events& events) override { zygote_->Attend(events); }
  void Maintain(net::Instant now, bool quiet, Events& events) override {
    zygote_->Maintain(now, quiet, events);
  }
  net::Instant next_maintenance() const override {
    return zygote_->next_maintenance();
  }
  absl::Status BeginGeneration() override { return chosen_->BeginGeneration(); }
  void Close() override { zygote_->Close(); }

 private:
  const std::unique_ptr<Zygote> zygote_;
  ForkPerConnection fork_;
  const int64_t largest_to_fork_;
  Strategy* chosen_ = zygote_.get();
  bool has_chosen_ = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_AUTO_STRATEGY_H_
