// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_NETWORK_OTHER_NETWORK_H_
#define BROOD_TESTING_SUPPORT_NETWORK_OTHER_NETWORK_H_

#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/socket.h"

namespace brood::testing {

// OtherNetwork is a TCP listener in a network namespace other than that of the
// test, and clients that are there too, as when a service manager passes its
// listener to a service with a network of its own.
//
// The sockets keep the namespace alive. A value that is moved; for tests, in
// the test process.
//
// Errors: Create() returns what is missing where namespaces cannot be had: a
// reason to skip a test.
//
// Example:
//   absl::StatusOr<OtherNetwork> other = OtherNetwork::Create(/*clients=*/1);
//   if (!other.ok()) GTEST_SKIP() << other.status();
//   connect(other->clients[0].fd(), ...);
struct OtherNetwork {
  // Returns a listener on 127.0.0.1, with `port` or a free one, and `count` TCP
  // sockets that are not connected.
  static absl::StatusOr<OtherNetwork> Create(int count, int port = 0);

  // Connects one of `clients` to the listener and returns it.
  net::Socket Connect();

  net::Socket listener;
  std::vector<net::Socket> clients;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_NETWORK_OTHER_NETWORK_H_
