// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_FAKE_SERVICE_MANAGER_H_
#define BROOD_TESTING_SUPPORT_FAKE_SERVICE_MANAGER_H_

#include <string>

#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"

namespace brood::testing {

// FakeServiceManager is the socket of a service manager, to which services send
// their notifications (NOTIFY_SOCKET).
//
// Lives in the test process, and in its children. Owns the socket, and not its
// file. Not thread-safe. Errors fail the test.
//
// Example:
//   const net::Endpoint notify = dir.Socket("notify");
//   const FakeServiceManager manager(notify);
//   setup.options.notify_socket = std::string(notify.path());
//   EXPECT_EQ(manager.NextWord(), "READY=1");
class FakeServiceManager {
 public:
  // Binds the socket to `endpoint`.
  explicit FakeServiceManager(const net::Endpoint& endpoint);

  // Returns the next notification; empty if none arrives within `timeout`.
  std::string NextWord(absl::Duration timeout = absl::Seconds(10)) const;

 private:
  net::Socket socket_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_FAKE_SERVICE_MANAGER_H_
