// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LISTENING_OPENED_LISTENER_H_
#define BROOD_SERVER_LISTENING_OPENED_LISTENER_H_

#include <vector>

#include "brood/net/listener.h"
#include "brood/net/unix_file/socket_file.h"
#include "brood/server/inherited_listener.h"

namespace brood::server {

// OpenedListener owns a listener that accepts connections for an entry of
// Options::listen. The entry is passed to a program that takes over, which
// finds its own entry by it.
struct OpenedListener : ListenerWithEntry<net::Listener> {
  // Whether the socket was bound now, and not inherited.
  bool is_new = false;
  // Removes the file of a unix socket that was bound now, if the start of the
  // server fails after that. Declared last, so that the file is removed before
  // the socket is closed.
  net::NewSocketFile new_file = {};
};

using Listeners = std::vector<OpenedListener>;

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_OPENED_LISTENER_H_
