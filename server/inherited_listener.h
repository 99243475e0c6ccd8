// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_INHERITED_LISTENER_H_
#define BROOD_SERVER_INHERITED_LISTENER_H_

#include <string>

#include "brood/net/unique_fd.h"

namespace brood::server {

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
struct InheritedListener {
  // Owns the listening descriptor.
  net::UniqueFd socket;
  // Holds the entry of Options::listen that the descriptor served in the
  // program that it comes from, as it was spelled there; empty if unknown.
  std::string entry;
  // Makes the listening end with the server, also for other processes that have
  // a copy of the descriptor. The program before this one sets it for listeners
  // that it has bound. Leave it false for one that must stay open, such as that
  // of a service manager.
  bool ends_with_server = false;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_INHERITED_LISTENER_H_
