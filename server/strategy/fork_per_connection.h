// ForkPerConnection: one fork for each connection, after it was accepted.
//
// The oldest pattern, the default, and the reference for the other strategies.
// Isolation is complete: what a child does to itself, no other connection sees.
// There is no hand-over: the child is born with its connection.
//
// Lives in the parent, which must be single-threaded. The tag of a child is its
// slot. Errors: those of proc::Spawner::Spawn.
//
// Example:
//   ForkPerConnection strategy(*std::move(spawner), &reaper, &program);
//   strategy.Dispatch(slot, std::move(connection), events);

#ifndef BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_
#define BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/child.h"
#include "brood/proc/reaper.h"
#include "brood/proc/spawn.h"
#include "brood/server/child/child_program.h"
#include "brood/server/strategy/strategy.h"

namespace brood::server {

class ForkPerConnection : public Strategy {
 public:
  // `reaper` and `program` outlive the strategy.
  ForkPerConnection(proc::Spawner spawner, proc::Reaper* reaper,
                    const ChildProgram* program)
      : spawner_(std::move(spawner)), reaper_(reaper), program_(program) {}

  absl::Status Prepare() override { return spawner_.Prepare(); }
  void Dispatch(Slot slot, net::Connection connection, Events& events) override;
  void ChildEnded(const proc::Reaper::Ended& ended, Events& events) override {
    events.Ended(ended.tag, ended.pid, ended.status, net::Now());
  }

  const proc::Spawner& spawner() const { return spawner_; }

 private:
  absl::StatusOr<proc::Child> ForkAndHandle(net::Connection connection);

  proc::Spawner spawner_;
  proc::Reaper* const reaper_;
  const ChildProgram* const program_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_STRATEGY_FORK_PER_CONNECTION_H_
