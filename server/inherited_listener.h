// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_INHERITED_LISTENER_H_
#define BROOD_SERVER_INHERITED_LISTENER_H_

#include <string>

#include "brood/net/unique_fd.h"

namespace brood::server {

// ListenerWithEntry is a listening socket and the entry of Options::listen that
// it serves. `Socket` is the type that owns or lends the descriptor; embedders
// use InheritedListener.
template <typename Socket>
struct ListenerWithEntry {
  // Holds the listening descriptor.
  Socket socket;
  // Holds the entry as it is spelled in Options::listen; for a descriptor that
  // comes from another program, as it is spelled there. Empty if unknown.
  std::string entry;
  // Makes the socket stop listening when the server ends, also for other
  // processes that have a copy of the descriptor. The server sets this for
  // listeners that it has bound, and passes it on to the program that replaces
  // it. Leave it false for a listener that must stay open, such as that of a
  // service manager.
  bool ends_with_server = false;
};

// InheritedListener owns a descriptor that already listens when the server is
// created.
//
// It comes from a service manager (see server/socket_activation.h), from the
// program that this one replaces, or from the embedder. TcpServer::Create()
// takes such listeners and uses each for the entry of Options::listen that
// means it, before it binds anything.
//
// A resource: it can be moved but not copied, and closes its descriptor unless
// it has given it up.
//
// Example:
//   std::vector<InheritedListener> inherited;
//   inherited.push_back({net::Socket::Adopt(listening_fd), ""});
//   options.listen = {"inherited"};
//   auto server = TcpServer::Create(options, handler, std::move(inherited));
using InheritedListener = ListenerWithEntry<net::UniqueFd>;

}  // namespace brood::server

#endif  // BROOD_SERVER_INHERITED_LISTENER_H_
