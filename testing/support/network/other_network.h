// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_NETWORK_OTHER_NETWORK_H_
#define BROOD_TESTING_SUPPORT_NETWORK_OTHER_NETWORK_H_

#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/socket.h"

namespace brood::testing {

// OtherNetwork is a TCP listener, and clients, in another network namespace
// than that of the test. This is the case of a service manager that passes its
// listener to a service with its own network.
//
// The sockets keep the namespace alive. A resource of the test process: it is
// moved, never copied.
//
// Errors: where namespaces are not available, Create() returns the reason, for
// skipping a test.
//
// Example:
//   absl::StatusOr<OtherNetwork> other = OtherNetwork::Create(/*clients=*/1);
//   if (!other.ok()) GTEST_SKIP() << other.status();
//   connect(other->clients[0].fd(), ...);
struct OtherNetwork {
  // Returns a listener on 127.0.0.1, with `port` or a free one, and `count`
  // unconnected TCP sockets.
  static absl::StatusOr<OtherNetwork> Create(int count, int port = 0);

  // Connects one of `clients` to the listener and returns it.
  net::Socket Connect();

  // The listener.
  net::Socket listener;
  // The sockets that are not connected yet.
  std::vector<net::Socket> clients;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_NETWORK_OTHER_NETWORK_H_
