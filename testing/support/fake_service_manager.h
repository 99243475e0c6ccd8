// SPDX-License-Identifier: Apache-2.0

// FakeServiceManager: where a service manager hears from its services, the
// socket that NOTIFY_SOCKET names.
//
// Lives in the test process, and in its children. Owns the socket; the file of
// one stays its folder's. Not thread-safe. What fails is a failure of the test.
//
// Example:
//   const net::Endpoint notify = dir.Socket("notify");
//   const FakeServiceManager manager(notify);
//   setup.options.notify_socket = std::string(notify.path());
//   EXPECT_EQ(manager.NextWord(), "READY=1");

#ifndef BROOD_TESTING_SUPPORT_FAKE_SERVICE_MANAGER_H_
#define BROOD_TESTING_SUPPORT_FAKE_SERVICE_MANAGER_H_

#include <string>

#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/socket.h"

namespace brood::testing {

class FakeServiceManager {
 public:
  explicit FakeServiceManager(const net::Endpoint& endpoint);

  // What it is told next; empty if that is not within `patience`.
  std::string NextWord(absl::Duration patience = absl::Seconds(10)) const;

 private:
  net::Socket socket_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_FAKE_SERVICE_MANAGER_H_
