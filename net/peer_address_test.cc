// SPDX-License-Identifier: Apache-2.0

#include "brood/net/peer_address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::testing::ElementsAre;

static_assert(sizeof(PeerAddress) == 28);
static_assert(std::is_trivially_copyable_v<PeerAddress>);

sockaddr_storage Ipv4(const char* host, uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  EXPECT_EQ(inet_pton(AF_INET, host, &address.sin_addr), 1);
  sockaddr_storage storage = {};
  std::memcpy(&storage, &address, sizeof(address));
  return storage;
}

sockaddr_storage Ipv6(const char* host, uint16_t port, uint32_t scope = 0,
                      uint32_t flow = 0) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_scope_id = scope;
  address.sin6_flowinfo = flow;
  EXPECT_EQ(inet_pton(AF_INET6, host, &address.sin6_addr), 1);
  sockaddr_storage storage = {};
  std::memcpy(&storage, &address, sizeof(address));
  return storage;
}

sockaddr_storage UnixNamed(const char* path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  sockaddr_storage storage = {};
  std::memcpy(&storage, &address, sizeof(address));
  return storage;
}

PeerAddress From(const sockaddr_storage& address) {
  return PeerAddress::FromSockaddr(address);
}

// One address of each kind.
std::vector<PeerAddress> OneOfEach() {
  return {PeerAddress(), From(Ipv4("192.0.2.7", 40112)),
          From(Ipv6("2001:db8::1", 80)), From(Ipv6("fe80::1", 5, 3)),
          PeerAddress::Unix()};
}

TEST(PeerAddressTest, IsTheUnspecifiedIpv4AddressByDefault) {
  EXPECT_EQ(PeerAddress().ToString(), "0.0.0.0:0");
  EXPECT_EQ(PeerAddress(), From(Ipv4("0.0.0.0", 0)));
}

TEST(PeerAddressTest, ReportsPartsOfAnIpv4Address) {
  const PeerAddress peer = From(Ipv4("192.0.2.7", 40112));
  EXPECT_EQ(peer.family(), AF_INET);
  EXPECT_FALSE(peer.is_ipv6() || peer.is_unix());
  EXPECT_EQ(peer.port(), 40112);
  EXPECT_THAT(peer.host(), ElementsAre(192, 0, 2, 7));
  EXPECT_EQ(peer.ToString(), "192.0.2.7:40112");
  EXPECT_EQ(peer.address_length(), sizeof(sockaddr_in));
  const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(peer.address());
  EXPECT_EQ(ipv4->sin_port, htons(40112));
}

TEST(PeerAddressTest, ReportsPartsOfAnIpv6Address) {
  const PeerAddress peer = From(Ipv6("2001:db8::1", 80));
  EXPECT_EQ(peer.family(), AF_INET6);
  EXPECT_TRUE(peer.is_ipv6());
  EXPECT_FALSE(peer.is_unix());
  EXPECT_EQ(peer.port(), 80);
  EXPECT_THAT(peer.host(), ElementsAre(0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0,
                                       0, 0, 0, 0, 1));
  EXPECT_EQ(peer.ToString(), "[2001:db8::1]:80");
  EXPECT_EQ(peer.address_length(), sizeof(sockaddr_in6));
}

TEST(PeerAddressTest, DropsTheNameOfAUnixSocket) {
  const PeerAddress peer = From(UnixNamed("/run/client.sock"));
  EXPECT_EQ(peer.family(), AF_UNIX);
  EXPECT_TRUE(peer.is_unix());
  EXPECT_FALSE(peer.is_ipv6());
  EXPECT_EQ(peer.port(), 0);
  EXPECT_TRUE(peer.host().empty());
  EXPECT_EQ(peer.ToString(), "unix:");
  EXPECT_EQ(peer.address_length(), sizeof(sa_family_t));
  EXPECT_EQ(peer, PeerAddress::Unix());
}

TEST(PeerAddressTest, MapsIpv4ClientOfADualStackListenerToItsIpv4Address) {
  const PeerAddress peer = From(Ipv6("::ffff:1.2.3.4", 5, 7));
  EXPECT_EQ(peer, From(Ipv4("1.2.3.4", 5)));
  EXPECT_EQ(peer.ToString(), "1.2.3.4:5");
}

TEST(PeerAddressTest, ComparesInterfacesOfLinkLocalAddresses) {
  const PeerAddress peer = From(Ipv6("fe80::1", 5, 3));
  EXPECT_EQ(peer, From(Ipv6("fe80::1", 5, 3)));
  EXPECT_NE(peer, From(Ipv6("fe80::1", 5, 2)));
  EXPECT_EQ(peer.ToString(), "[fe80::1]:5");
  const auto* ipv6 = reinterpret_cast<const sockaddr_in6*>(peer.address());
  EXPECT_EQ(ipv6->sin6_scope_id, 3u);
}

TEST(PeerAddressTest, DropsTheFlowLabelAndPadding) {
  EXPECT_EQ(From(Ipv6("2001:db8::1", 80, 0, 42)),
            From(Ipv6("2001:db8::1", 80)));
  sockaddr_storage noisy = Ipv4("1.2.3.4", 5);
  auto* ipv4 = reinterpret_cast<sockaddr_in*>(&noisy);
  std::memset(ipv4->sin_zero, 0x5a, sizeof(ipv4->sin_zero));
  EXPECT_EQ(From(noisy), From(Ipv4("1.2.3.4", 5)));
}

TEST(PeerAddressTest, TreatsOtherFamiliesAsTheDefault) {
  sockaddr_storage storage = Ipv4("1.2.3.4", 5);
  storage.ss_family = AF_NETLINK;
  EXPECT_EQ(From(storage), PeerAddress());
}

TEST(PeerAddressTest, DiffersByHostPortAndFamily) {
  const std::vector<PeerAddress> each = OneOfEach();
  for (size_t i = 0; i < each.size(); ++i) {
    for (size_t j = 0; j < each.size(); ++j) {
      EXPECT_EQ(each[i] == each[j], i == j) << i << " " << j;
      EXPECT_EQ(each[i] != each[j], i != j) << i << " " << j;
    }
  }
  EXPECT_NE(From(Ipv4("1.2.3.4", 5)), From(Ipv4("1.2.3.4", 6)));
  EXPECT_NE(From(Ipv4("1.2.3.4", 5)), From(Ipv4("1.2.3.5", 5)));
}

TEST(PeerAddressTest, PrintsTheLongestIntoTheSizeItPromises) {
  const PeerAddress longest =
      From(Ipv6("1111:2222:3333:4444:5555:6666:255.255.255.255", 65535));
  for (const PeerAddress& address : {longest, PeerAddress::Unix()}) {
    char text[PeerAddress::kTextSize];
    std::memset(text, 'x', sizeof(text));
    const absl::string_view printed = address.Print(text);
    EXPECT_EQ(printed, address.ToString());
    EXPECT_EQ(printed.data(), text);
    EXPECT_EQ(std::strlen(text), printed.size());
  }
}

TEST(PeerAddressTest, IsReadFromItsBytes) {
  for (const PeerAddress& address : OneOfEach()) {
    EXPECT_EQ(PeerAddress::FromBytes(address.ToBytes()), address);
  }
}

TEST(PeerAddressTest, IsNotReadFromBytesOfAnotherForm) {
  const auto bytes_of = [](const sockaddr_storage& address) {
    PeerAddress::Bytes bytes;
    std::memcpy(bytes.data(), &address, bytes.size());
    return bytes;
  };
  sockaddr_storage padded = Ipv4("1.2.3.4", 5);
  reinterpret_cast<sockaddr_in*>(&padded)->sin_zero[0] = 1;
  sockaddr_storage netlink = Ipv4("1.2.3.4", 5);
  netlink.ss_family = AF_NETLINK;
  sockaddr_storage behind_ipv4 = Ipv4("1.2.3.4", 5);
  reinterpret_cast<char*>(&behind_ipv4)[PeerAddress::kSize - 1] = 1;
  for (const sockaddr_storage& wrong :
       {padded, netlink, behind_ipv4, UnixNamed("/x"),
        Ipv6("::ffff:1.2.3.4", 5), Ipv6("2001:db8::1", 80, 0, 42)}) {
    EXPECT_EQ(PeerAddress::FromBytes(bytes_of(wrong)), absl::nullopt);
  }
}

TEST(PeerAddressTest, HasOneFormInBytes) {
  std::mt19937 random(20261129);
  const sa_family_t kFamilies[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};
  int good = 0;
  for (int i = 0; i < 20000; ++i) {
    PeerAddress::Bytes bytes = {};
    std::memcpy(bytes.data(), &kFamilies[random() % 4], sizeof(sa_family_t));
    for (size_t changes = random() % 4; changes > 0; --changes) {
      bytes[2 + random() % (bytes.size() - 2)] =
          static_cast<unsigned char>(random());
    }
    const absl::optional<PeerAddress> address = PeerAddress::FromBytes(bytes);
    if (!address) continue;
    ++good;
    ASSERT_EQ(address->ToBytes(), bytes);
    ASSERT_FALSE(address->ToString().empty());
  }
  EXPECT_GT(good, 4000);
  EXPECT_LT(good, 16000);
}

}  // namespace
}  // namespace brood::net
