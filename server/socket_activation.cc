#include "brood/server/socket_activation.h"

#include <cstdlib>
#include <utility>
#include <vector>

#include "brood/net/listen_fds.h"

namespace brood::server {

absl::StatusOr<int> InheritListeners(Options* options) {
  absl::StatusOr<std::vector<net::InheritedSocket>> sockets =
      net::TakeInheritedSockets();
  if (!sockets.ok()) return sockets.status();
  for (net::InheritedSocket& inherited : *sockets) {
    options->inherited.push_back({std::move(inherited.socket).Release(), ""});
  }
  return static_cast<int>(sockets->size());
}

void TakeNotifySocket(Options* options) {
  const char* value = getenv("NOTIFY_SOCKET");
  if (value != nullptr) options->notify_socket = value;
  unsetenv("NOTIFY_SOCKET");
}

}  // namespace brood::server
