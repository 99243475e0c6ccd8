#include "brood/server/strategy/fork_per_connection.h"

namespace brood::server {

void ForkPerConnection::Dispatch(Slot slot, net::Connection connection,
                                 Events& events) {
  absl::StatusOr<proc::Child> child = ForkAndHandle(std::move(connection));
  if (!child.ok()) {
    events.Failed(slot, child.status());
    return;
  }
  const pid_t pid = child->pid();
  reaper_->Adopt(*std::move(child), slot);
  events.Serving(slot, pid, net::Now());
}

// The pattern. The parent's copy of the connection is closed at the end of this
// scope, before anything else is forked: the child is its only holder, so the
// client sees the end of the connection when the child ends, whatever siblings
// live. The child never comes out of Spawn.
absl::StatusOr<proc::Child> ForkPerConnection::ForkAndHandle(
    net::Connection connection) {
  return spawner_.Spawn([&] { return program_->BeginAndServe(connection); });
}

}  // namespace brood::server
