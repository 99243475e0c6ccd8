#include "brood/server/strategy/fork_per_connection.h"

#include "brood/server/handle_connection.h"

namespace brood::server {

// The pattern. The parent's copy of the connection is closed at the end of this
// scope, before anything else is forked: the child is its only holder, so the
// client sees the end of the connection when the child ends, whatever siblings
// live. The child never comes out of Spawn.
absl::StatusOr<proc::Child> ForkPerConnection::ForkAndHandle(
    net::Connection connection, size_t max_size) {
  return spawner_.Spawn([&] {
    log_->Handling(connection.peer());
    return static_cast<int>(HandleConnection(connection, max_size, handler_));
  });
}

}  // namespace brood::server
