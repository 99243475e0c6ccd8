// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LISTENING_MATCH_LISTENERS_H_
#define BROOD_SERVER_LISTENING_MATCH_LISTENERS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "brood/net/listener.h"
#include "brood/server/listening/opened_listener.h"
#include "brood/server/log/event_log.h"
#include "brood/server/text/listen_entry.h"

namespace brood::server {

// OfferedListener is a listener that was inherited, until an entry of
// Options::listen gets it.
struct OfferedListener {
  // The number under which the descriptor came.
  int fd;
  // The entry that it served in the program that it comes from.
  std::string served;
  // The listener, which is moved to the entry.
  OpenedListener opened;
  // Says whether an entry has it.
  bool taken = false;
};

// AskedEntry is an entry of Options::listen, and what it got.
struct AskedEntry {
  // The entry as it is spelled.
  const std::string* text;
  // What it means.
  ListenEntry entry;
  // One listener; more for "inherited", and two for an entry that means every
  // address if one has IPv4 and one IPv6.
  std::vector<OpenedListener> got;
  // Says whether an inherited listener that another entry got serves this one
  // as well.
  bool is_covered = false;
};

// Gives the entries the inherited listeners that they mean, in the order that
// open_listeners.h describes. Closes those that no entry means. Logs both that,
// and which listener accepts more than its entry names.
//
// Errors: FailedPrecondition for "inherited" if nothing was inherited.
absl::Status MatchListeners(std::vector<AskedEntry>* asked,
                            std::vector<OfferedListener>* offered,
                            EventLog* log);

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_MATCH_LISTENERS_H_
