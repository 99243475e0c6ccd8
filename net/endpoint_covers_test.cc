// SPDX-License-Identifier: Apache-2.0

// Which listener accepts the connections of another one: O8.

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

Endpoint Parsed(absl::string_view text) { return *Endpoint::Parse(text); }

// Checks for each pair whether the first endpoint covers the second. The
// columns are in the order of the rows.
TEST(EndpointCoversTest, ComparesWhatTheKernelBinds) {
  const struct {
    const char* host;
    const char* covers;
  } kRows[] = {
      {"", "yyyyyyyy"},                    // every address
      {"[::]", "-y-yyy--"},                // every one of IPv6
      {"0.0.0.0", "--y---yy"},             // every one of IPv4
      {"[::1]", "---y----"},               // one of IPv6
      {"[2001:db8::1]", "----y---"},       // another one
      {"[0:0::2]", "-----y--"},            // spelled otherwise
      {"[::ffff:127.0.0.1]", "------yy"},  // IPv4, mapped
      {"localhost", "------yy"},           // the same, by its name
  };
  for (const auto& row : kRows) {
    for (size_t i = 0; i < std::size(kRows); ++i) {
      const Endpoint one = Parsed(absl::StrCat(row.host, ":80"));
      const Endpoint two = Parsed(absl::StrCat(kRows[i].host, ":80"));
      EXPECT_EQ(one.Covers(two), row.covers[i] == 'y')
          << one.ToString() << " and " << two.ToString();
      EXPECT_FALSE(one.Covers(two.WithPort(81))) << "another port";
    }
  }
  EXPECT_TRUE(Parsed("0.0.0.0:80").Covers(Parsed("[::ffff:0.0.0.0]:80")));
  EXPECT_TRUE(Parsed("[::ffff:0.0.0.0]:80").Covers(Parsed("1.2.3.4:80")));
}

TEST(EndpointCoversTest, ComparesTheInterfaceIfBothHaveOne) {
  const auto at_interface = [](uint32_t index) {
    const Endpoint endpoint = Parsed("[fe80::1]:80");
    sockaddr_storage storage = {};
    std::memcpy(&storage, endpoint.address(), endpoint.address_length());
    reinterpret_cast<sockaddr_in6&>(storage).sin6_scope_id = index;
    return Endpoint::FromSockaddr(storage);
  };
  EXPECT_TRUE(at_interface(2).Covers(Parsed("[fe80::1]:80")));
  EXPECT_TRUE(Parsed("[fe80::1]:80").Covers(at_interface(2)));
  EXPECT_FALSE(at_interface(2).Covers(at_interface(3)));
  EXPECT_FALSE(at_interface(2).Covers(Parsed("[fe80::2]:80")));
}

TEST(EndpointCoversTest, ComparesNamesOfUnixSockets) {
  EXPECT_TRUE(Parsed("unix:/x").Covers(Parsed("unix:/x")));
  EXPECT_FALSE(Parsed("unix:/x").Covers(Parsed("unix:/y")));
  EXPECT_FALSE(Parsed("unix:/x").Covers(Parsed("unix:@/x")));
  EXPECT_FALSE(Parsed(":80").Covers(Parsed("unix:/x")));
  EXPECT_FALSE(Parsed("unix:/x").Covers(Parsed(":80")));
}

TEST(EndpointCoversTest, KnowsThePartsOfEveryAddress) {
  EXPECT_EQ(Parsed(":80").WithoutIpv4(), Parsed("[::]:80"));
  EXPECT_EQ(Parsed("[::1]:80").WithoutIpv4(), Parsed("[::1]:80"));
  EXPECT_EQ(Parsed("1.2.3.4:80").WithoutIpv4(), Parsed("1.2.3.4:80"));
  for (const char* any : {":80", "[::]:80", "0.0.0.0:80"}) {
    EXPECT_TRUE(Parsed(any).is_any()) << any;
  }
  for (const char* one : {"[::1]:80", "127.0.0.1:80", "unix:/x", "unix:@x"}) {
    EXPECT_FALSE(Parsed(one).is_any()) << one;
  }
  EXPECT_EQ(Parsed("[::ffff:1.2.3.4]:80").Unmapped(), Parsed("1.2.3.4:80"));
  EXPECT_EQ(Parsed("[::1.2.3.4]:80").Unmapped(), Parsed("[::1.2.3.4]:80"));
}

}  // namespace
}  // namespace brood::net
