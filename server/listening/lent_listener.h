// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LISTENING_LENT_LISTENER_H_
#define BROOD_SERVER_LISTENING_LENT_LISTENER_H_

#include "brood/server/inherited_listener.h"

namespace brood::server {

// LentListener refers to a listener that its owner keeps and of which another
// program gets a copy.
//
// A value: it owns no descriptor and is valid as long as the owner's listener
// is open. The other program owns what it receives as an InheritedListener.
//
// Example:
//   for (const LentListener& lent : listeners.Lend(/*is_sole_holder=*/true)) {
//     Send(/*fd=*/lent.socket, lent.entry);
//   }
using LentListener = ListenerWithEntry<int>;

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_LENT_LISTENER_H_
