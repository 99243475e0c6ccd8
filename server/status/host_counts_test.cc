// SPDX-License-Identifier: Apache-2.0

#include "brood/server/status/host_counts.h"

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "brood/net/endpoint.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

net::PeerAddress At(const std::string& text) {
  return net::Endpoint::Parse(text)->ToAddress();
}

TEST(HostCountsTest, CountsConnectionsOfEachHostWhateverTheirPort) {
  HostCounts counts(8);
  EXPECT_EQ(counts.Add(At("192.0.2.1:1")), 1u);
  EXPECT_EQ(counts.Add(At("192.0.2.1:2")), 2u);
  EXPECT_EQ(counts.Add(At("192.0.2.2:1")), 1u);
  EXPECT_EQ(counts.Add(At("[2001:db8::1]:1")), 1u);
  counts.Remove(At("192.0.2.1:1"));
  EXPECT_EQ(counts.Add(At("192.0.2.1:3")), 2u);
  counts.Remove(At("192.0.2.2:1"));
  EXPECT_EQ(counts.Add(At("192.0.2.2:4")), 1u);
}

TEST(HostCountsTest, CountsClientsOfUnixSocketsAsOneHost) {
  HostCounts counts(8);
  EXPECT_EQ(counts.Add(net::PeerAddress::Unix()), 1u);
  EXPECT_EQ(counts.Add(net::PeerAddress::Unix()), 2u);
  EXPECT_EQ(counts.Add(At("0.0.0.0:1")), 1u);
}

TEST(HostCountsTest, IgnoresTheEndOfAConnectionThatWasNotAdded) {
  HostCounts counts(1);
  counts.Remove(At("192.0.2.1:1"));
  EXPECT_EQ(counts.Add(At("192.0.2.1:1")), 1u);
}

// Tables of several sizes are full, so that cells move, with hosts of which
// many have one home.
TEST(HostCountsTest, CountsAsAMapDoesWhateverComesAndGoes) {
  std::mt19937 random(4711);
  for (const size_t size : {1, 2, 3, 7, 64}) {
    HostCounts counts(size);
    std::map<std::string, uint32_t> expected;
    std::vector<std::string> running;
    for (int i = 0; i < 20000; ++i) {
      if (running.size() < size && (running.empty() || random() % 2 == 0)) {
        const std::string host =
            absl::StrCat("192.0.2.", random() % (2 * size), ":1");
        running.push_back(host);
        ASSERT_EQ(counts.Add(At(host)), ++expected[host]) << host;
      } else {
        std::swap(running[random() % running.size()], running.back());
        counts.Remove(At(running.back()));
        --expected[running.back()];
        running.pop_back();
      }
    }
  }
}

}  // namespace
}  // namespace brood::server
