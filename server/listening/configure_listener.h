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

// ListenerSettings are the options of a listener that can be changed while it
// listens.
//
// A value of the parent. A program that takes over from another one shares its
// sockets, so a setting that it changes is changed for both.
struct ListenerSettings {
  // Makes the settings of Options().
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

// Returns the path by which clients find the unix socket of `listener`: the
// path of `entry`, the entry of Options::listen that it serves, or the path to
// which it is bound. Empty if it has no path.
std::string PathOfListener(const net::Listener& listener,
                           absl::string_view entry);

// Sets the timeout of peers on a listener, or removes it if `settings` have
// none.
absl::Status ApplyPeerTimeout(const ListenerSettings& settings,
                              const net::Listener& listener);

// Sets the length of the queue of an inherited listener, and the mode of the
// file of its socket, to those of `settings`.
//
// `is_ours` reports whether the server, or the program before it, has bound the
// listener. If not, another program decides about both, and nothing is changed.
// An option that is set and not applied is logged with its name.
void ConfigureListener(const ListenerSettings& settings,
                       absl::string_view entry, bool is_ours,
                       const net::Listener& listener, EventLog* log);

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_CONFIGURE_LISTENER_H_
