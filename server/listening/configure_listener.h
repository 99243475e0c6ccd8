// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LISTENING_CONFIGURE_LISTENER_H_
#define BROOD_SERVER_LISTENING_CONFIGURE_LISTENER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/listener.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"

namespace brood::server {

// ListenerSettings is what the options say about a listener that can be changed
// while it listens.
//
// A value of the parent. A program that takes over from another one shares its
// sockets, and so its settings: what it changes is changed for both.
struct ListenerSettings {
  // Makes settings that are those of Options().
  ListenerSettings() = default;
  // Takes the settings from `options`.
  explicit ListenerSettings(const Options& options);

  // See Options::backlog.
  int backlog = 0;
  // See Options::unix_mode.
  int unix_mode = 0600;
  // See Options::deadlines; zero for the kernel's own timeouts.
  absl::Duration peer_timeout;
};

// Returns the path by which clients find the unix socket of `listener`: that of
// the entry of Options::listen which it serves, or the one to which it is
// bound. Empty if it has none.
std::string PathOfListener(const net::Listener& listener,
                           absl::string_view entry);

// Sets the timeout of peers on a listener, or takes back the one that it has.
absl::Status ApplyPeerTimeout(const ListenerSettings& settings,
                              const net::Listener& listener);

// Gives a listener that was inherited the length of the queue, and the file of
// its socket the mode, that `settings` say.
//
// `is_ours` says whether the server, or the program before it, has bound the
// listener. If not, another program decides about both, and nothing is changed.
// What is asked for and is not applied is logged with the name of the option.
void ConfigureListener(const ListenerSettings& settings,
                       absl::string_view entry, bool is_ours,
                       const net::Listener& listener, EventLog* log);

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_CONFIGURE_LISTENER_H_
