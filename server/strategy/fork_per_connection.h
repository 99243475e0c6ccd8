// ForkPerConnection: one fork for each connection, after it was accepted.
//
// The oldest pattern, the default, and the reference for the other strategies.
// Isolation is complete: what a child does to itself, no other connection sees.
//
// Lives in the parent, which must be single-threaded. Errors: those of
// proc::Spawner::Spawn.
//
// Example:
//   ForkPerConnection strategy(*std::move(spawner), 1024, handler, &log);
//   absl::StatusOr<proc::Child> child =
//   strategy.Dispatch(std::move(connection));

#ifndef BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_
#define BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_

#include <cstddef>
#include <utility>

#include "brood/proc/spawn.h"
#include "brood/server/event_log.h"
#include "brood/server/handler.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

class ForkPerConnection : public Strategy {
 public:
  // `log` outlives the strategy.
  ForkPerConnection(proc::Spawner spawner, size_t max_size, Handler handler,
                    EventLog* log)
      : spawner_(std::move(spawner)),
        max_size_(max_size),
        handler_(std::move(handler)),
        log_(log) {}

  absl::StatusOr<proc::Child> Dispatch(net::Connection connection) override {
    return ForkAndHandle(std::move(connection), max_size_);
  }
  void Hide(int fd) override { spawner_.Hide(fd); }
  void Unhide(int fd) override { spawner_.Unhide(fd); }
  absl::Status Prepare() override { return spawner_.Prepare(); }

 private:
  absl::StatusOr<proc::Child> ForkAndHandle(net::Connection connection,
                                            size_t max_size);

  proc::Spawner spawner_;
  const size_t max_size_;
  const Handler handler_;
  EventLog* const log_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_
