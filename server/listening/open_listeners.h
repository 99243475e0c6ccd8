// OpenListeners: the listeners that the options ask for, bound or inherited.
//
// In the parent, once for each server. Each entry of Options::listen gets the
// inherited descriptor that it means, or else one that is bound now. Which one
// that is, is asked in this order, and no descriptor is given twice:
//
//   1. the one that served the same entry before, by its spelling
//   2. for "fd:N", the one with this number, inherited or not
//   3. for an endpoint, the one that listens there
//   4. for an endpoint with port 0, one with the same host
//   5. for "inherited", all those that are left
//
// Those that no entry means are closed, with a warning in the log. Nothing is
// bound before every descriptor has been looked at.
//
// Errors: those of net::Listener; InvalidArgument for a deadline that can't be
// kept on a listener, and for a descriptor that is asked for twice;
// FailedPrecondition for "inherited" if there is none. All is closed then.
//
// Example:
//   absl::StatusOr<Listeners> listeners =
//       OpenListeners(options, TakeOver(options), &log);
//   if (!listeners.ok()) return listeners.status();

#ifndef BROOD_SERVER_LISTENING_OPEN_LISTENERS_H_
#define BROOD_SERVER_LISTENING_OPEN_LISTENERS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/listener.h"
#include "brood/net/socket.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"

namespace brood::server {

struct Listeners {
  // In the order of Options::listen.
  std::vector<net::Listener> listeners;
  // For each of them the entry that it serves, as it is spelled: what a program
  // that takes over needs in its Options::inherited.
  std::vector<std::string> entries;
};

// What may serve an entry of Options::listen.
struct TakenOver {
  net::Socket socket;
  // The entry that it served before; empty if nobody knows.
  std::string listen_entry;
};

// The descriptors of Options::inherited, owned from here on.
std::vector<TakenOver> TakeOver(const Options& options);

absl::StatusOr<Listeners> OpenListeners(const Options& options,
                                        std::vector<TakenOver> inherited,
                                        EventLog* log);

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_OPEN_LISTENERS_H_
