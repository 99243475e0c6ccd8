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

// OfferedListener is an inherited listener, before an entry of Options::listen
// gets it.
struct OfferedListener {
  // The number that the descriptor had when it was inherited.
  int fd;
  // The entry that it served in the program from which it comes.
  std::string served;
  // The listener, which is moved to the entry.
  OpenedListener opened;
  // Whether an entry has got it.
  bool taken = false;
};

// AskedEntry is an entry of Options::listen, and the listeners that it got.
struct AskedEntry {
  // The entry as it is spelled.
  const std::string* text;
  // What it means.
  ListenEntry entry;
  // The listeners of the entry: one; more for "inherited"; two for an entry
  // that means every address, if one listens for IPv4 and the other for IPv6.
  std::vector<OpenedListener> got;
  // Whether an inherited listener that another entry got serves this entry as
  // well.
  bool is_covered = false;
};

// Assigns the inherited listeners to the entries that mean them, in the order
// that open_listeners.h describes. Closes and logs the listeners that no entry
// means. Logs each listener that accepts more connections than its entry names.
//
// Errors: FailedPrecondition for "inherited" if nothing was inherited.
absl::Status MatchListeners(std::vector<AskedEntry>* asked,
                            std::vector<OfferedListener>* offered,
                            EventLog* log);

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_MATCH_LISTENERS_H_
