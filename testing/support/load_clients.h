// SPDX-License-Identifier: Apache-2.0

// LoadClients: clients that come one after the other, without a pause, while a
// test does something to their server.
//
// Each of them is a thread of the test process: connects, sends something,
// reads it back, sends and reads once more, ends its side, waits for the end of
// the other, and begins again. Owns the threads; they run from the constructor
// to Stop(), or to the destructor.
//
// Errors: a client that is not served well is counted, and the first one's
// failure kept.
//
// Example:
//   LoadClients clients(server.endpoint(), /*clients=*/8);
//   Upgrade(server);
//   clients.Stop();
//   EXPECT_THAT(clients.first_failure(), IsOk());

#ifndef BROOD_TESTING_SUPPORT_LOAD_CLIENTS_H_
#define BROOD_TESTING_SUPPORT_LOAD_CLIENTS_H_

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "brood/net/endpoint.h"

namespace brood::testing {

class LoadClients {
 public:
  LoadClients(const net::Endpoint& server, int clients);
  LoadClients(const LoadClients&) = delete;
  LoadClients& operator=(const LoadClients&) = delete;
  ~LoadClients();

  // Returns when every client is done; from then on the counts are final.
  void Stop();

  int served() const { return served_; }
  int failed() const { return failed_; }
  absl::Status first_failure() const;

 private:
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
