// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LISTENING_LENT_LISTENER_H_
#define BROOD_SERVER_LISTENING_LENT_LISTENER_H_

#include <string>

namespace brood::server {

// LentListener names a listener that its owner keeps and that another program
// is to have as well.
//
// A value: it owns no descriptor and is valid as long as the owner's listener
// is open. The other program owns what it receives as an InheritedListener.
//
// Example:
//   for (const LentListener& lent : listeners.Lend()) Send(lent.fd, lent.entry);
struct LentListener {
  // Holds the listening descriptor of the owner.
  int fd;
  // Holds the entry of Options::listen that the listener serves.
  std::string entry;
  // Says whether the listening is to end with the server that has it last; see
  // InheritedListener.
  bool ends_with_server = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_LENT_LISTENER_H_
