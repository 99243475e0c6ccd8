// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_LOAD_CLIENTS_H_
#define BROOD_TESTING_SUPPORT_LOAD_CLIENTS_H_

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "brood/net/endpoint.h"

namespace brood::testing {

// LoadClients is a group of clients that use a server without a pause, while a
// test acts on the server.
//
// Each client is a thread of the test process, in a loop: it connects, sends
// bytes and reads them back twice, ends its side, and waits until the server
// ends its own. Owns the threads, which run from the constructor to Stop() or
// the destructor.
//
// Errors: connections that fail are counted, and the first error is kept.
//
// Example:
//   LoadClients clients(server.endpoint(), /*clients=*/8);
//   Upgrade(server);
//   clients.Stop();
//   EXPECT_THAT(clients.first_failure(), IsOk());
class LoadClients {
 public:
  // Starts `clients` threads that use the server at `server`.
  LoadClients(const net::Endpoint& server, int clients);
  LoadClients(const LoadClients&) = delete;
  LoadClients& operator=(const LoadClients&) = delete;
  // Stops the clients.
  ~LoadClients();

  // Ends the loops, and returns when every client has ended. The counts are
  // final then.
  void Stop();

  // Returns the number of connections that were served completely.
  int served() const { return served_; }
  // Returns the number of connections that failed.
  int failed() const { return failed_; }
  // Returns the error of the first connection that failed; OK if none has.
  absl::Status first_failure() const;

 private:
  // Runs in each thread: uses the server until Stop() is called, and counts the
  // connections.
  void Loop();

  const net::Endpoint server_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> served_{0};
  std::atomic<int> failed_{0};
  mutable std::mutex mutex_;
  absl::Status first_failure_;
  std::vector<std::thread> threads_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_LOAD_CLIENTS_H_
