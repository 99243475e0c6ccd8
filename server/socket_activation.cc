// SPDX-License-Identifier: Apache-2.0

#include "brood/server/socket_activation.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "brood/net/listen_fds.h"
#include "brood/server/log/event_log.h"
#include "brood/server/log/event_writer.h"

namespace brood::server {

absl::StatusOr<std::vector<InheritedListener>> InheritListeners(
    const Options::Log& log) {
  std::string ignored;
  absl::StatusOr<std::vector<net::InheritedSocket>> sockets =
      net::TakeInheritedSockets(&ignored);
  if (!sockets.ok()) return sockets.status();
  if (!ignored.empty()) {
    EventLog(LogSettings::From(log)).ListenFdsIgnored(ignored);
  }
  std::vector<InheritedListener> listeners;
  for (net::InheritedSocket& inherited : *sockets) {
    listeners.push_back({std::move(inherited.socket), ""});
  }
  return listeners;
}

void TakeNotifySocket(Options* options) {
  const char* value = getenv("NOTIFY_SOCKET");
  if (value != nullptr) options->notify_socket = value;
  unsetenv("NOTIFY_SOCKET");
}

}  // namespace brood::server
