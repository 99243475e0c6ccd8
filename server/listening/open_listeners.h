// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LISTENING_OPEN_LISTENERS_H_
#define BROOD_SERVER_LISTENING_OPEN_LISTENERS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/listening/opened_listener.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"

namespace brood::server {

// Opens the listeners that `options` ask for, in the order of Options::listen.
//
// Runs in the parent, once for each server. Each entry of Options::listen gets
// an inherited listener that matches it, or a listener that is bound now.
// Matches are searched in this order, and no listener serves two entries:
//
//   1. the listener that served an entry with the same spelling before
//   2. for "fd:N", the descriptor with the number N, inherited or not
//   3. for an endpoint, the listener that listens there, whatever its spelling:
//      two paths are equal if they lead to the same file
//   4. for an endpoint with port 0, a listener with the same host
//   5. for an endpoint, a listener that covers it (see net::Endpoint): that of
//      every address serves the entries of some. It may serve several entries.
//   6. for every address (":7000"), the listeners of every IPv4 and of every
//      IPv6 address; the one that is missing is bound
//   7. for "inherited", all listeners that are left
//
// Inherited listeners that match no entry are closed, with a warning in `log`.
// Listeners that accept more connections than their entries name are logged,
// too. Nothing is bound before every inherited listener has been considered.
//
// At the end, when nothing can fail any more, the settings of the options are
// applied to inherited listeners (see configure_listener.h). A unix socket
// whose file is gone, or is that of another socket, is bound again if the
// server had bound it, and otherwise served with a warning.
//
// The files of unix sockets that were bound are removed if the result is
// destroyed before their OpenedListener::new_file is kept.
//
// Errors: those of net::Listener; InvalidArgument for a deadline that cannot be
// enforced on a listener, and for a descriptor that two entries name;
// FailedPrecondition for "inherited" if nothing was inherited. All of
// `inherited` is closed then.
//
// Example:
//   absl::StatusOr<Listeners> listeners =
//       OpenListeners(options, std::move(inherited), &log);
//   if (!listeners.ok()) return listeners.status();
absl::StatusOr<Listeners> OpenListeners(
    const Options& options, std::vector<InheritedListener> inherited,
    EventLog* log);

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_OPEN_LISTENERS_H_
