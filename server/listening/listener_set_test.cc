// SPDX-License-Identifier: Apache-2.0

#include "brood/server/listening/listener_set.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/server/listening/open_listeners.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::TestClient;
using ::testing::ElementsAre;
using ::testing::SizeIs;

// Returns a set of `size` listeners on loopback, with the entries "0", "1", ...
ListenerSet SetOf(size_t size) {
  Listeners listeners;
  for (size_t i = 0; i < size; ++i) {
    absl::StatusOr<net::Listener> listener = net::Listener::Listen(
        *net::Endpoint::Parse("127.0.0.1:0"), net::kFullBacklog);
    EXPECT_THAT(listener, IsOk());
    listeners.push_back({{*std::move(listener), std::to_string(i)}});
  }
  return ListenerSet(std::move(listeners));
}

std::vector<size_t> Order(const ListenerSet& set) {
  std::vector<size_t> order;
  set.InTurn([&](size_t index) { order.push_back(index); });
  return order;
}

using ListenerSetTest = ::brood::testing::LeakCheck;

// At the cap, a slot becomes free now and then. In a fixed order, the first
// listener with a queue would get each of these slots.
TEST_F(ListenerSetTest, AsksTheListenerAfterTheLastAcceptFirst) {
  ListenerSet set = SetOf(3);
  EXPECT_THAT(Order(set), ElementsAre(0, 1, 2));
  const absl::StatusOr<TestClient> client =
      TestClient::Connect(set.endpoint(1));
  ASSERT_THAT(client, IsOk());
  EXPECT_TRUE(set.Accept(1).connection.has_value());
  EXPECT_THAT(Order(set), ElementsAre(2, 0, 1));
  EXPECT_FALSE(set.Accept(2).connection.has_value());
  EXPECT_THAT(Order(set), ElementsAre(2, 0, 1)) << "it accepted nothing";
}

TEST_F(ListenerSetTest, LeavesOutClosedListeners) {
  ListenerSet set = SetOf(3);
  set.Close(1, true);
  EXPECT_EQ(set.fd(1), -1);
  EXPECT_THAT(Order(set), ElementsAre(0, 2));
  EXPECT_THAT(set.Lend(true), SizeIs(2));
  EXPECT_EQ(set.Lend(true)[1].entry, "2");
  EXPECT_FALSE(set.all_closed());
  set.Close(0, true);
  set.Close(2, true);
  EXPECT_TRUE(set.all_closed());
}

// A flood of new clients must not keep a server from stopping.
TEST_F(ListenerSetTest, AllowsTheQueuedConnectionsAndAFewMore) {
  ListenerSet set = SetOf(1);
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) {
    absl::StatusOr<TestClient> client = TestClient::Connect(set.endpoint(0));
    ASSERT_THAT(client, IsOk());
    clients.push_back(*std::move(client));
  }
  set.AllowLatecomers();
  int allowed = 0;
  while (set.AllowsOneMore(0)) ++allowed;
  EXPECT_EQ(allowed, 3 + 64);
}

}  // namespace
}  // namespace brood::server
