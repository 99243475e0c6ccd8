// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/load_clients.h"

#include "absl/status/statusor.h"
#include "brood/testing/test_client.h"

namespace brood::testing {
namespace {

// A braced list is evaluated in this order; each step runs whatever the result
// of the one before.
absl::Status BeServed(const net::Endpoint& server) {
  absl::StatusOr<TestClient> client = TestClient::Connect(server);
  if (!client.ok()) return client.status();
  for (const absl::Status& step :
       {client->Echo("one"), client->Echo("and another"),
        client->ShutdownWrite(), client->ExpectEof()}) {
    if (!step.ok()) return step;
  }
  return absl::OkStatus();
}

}  // namespace

LoadClients::LoadClients(const net::Endpoint& server, int clients)
    : server_(server) {
  for (int i = 0; i < clients; ++i) {
    threads_.emplace_back([this] { Loop(); });
  }
}

LoadClients::~LoadClients() { Stop(); }

void LoadClients::Stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

absl::Status LoadClients::first_failure() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return first_failure_;
}

void LoadClients::Loop() {
  while (!stopping_) {
    const absl::Status served = BeServed(server_);
    if (served.ok()) {
      ++served_;
      continue;
    }
    ++failed_;
    const std::lock_guard<std::mutex> lock(mutex_);
    first_failure_.Update(served);
  }
}

}  // namespace brood::testing
