// SPDX-License-Identifier: Apache-2.0

#include "brood/net/endpoint.h"

#include <arpa/inet.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "brood/net/peer_address.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

Endpoint Parsed(absl::string_view text) {
  const absl::StatusOr<Endpoint> endpoint = Endpoint::Parse(text);
  EXPECT_THAT(endpoint, IsOk());
  return endpoint.value_or(Endpoint());
}

sockaddr_storage StorageOf(const Endpoint& endpoint) {
  sockaddr_storage storage = {};
  std::memcpy(&storage, endpoint.address(), endpoint.address_length());
  return storage;
}

TEST(EndpointTest, PrintsWhatItParses) {
  for (const char* text :
       {"127.0.0.1:7000", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:7000",
        "[::]:0", "[2001:db8::1:0:0:1]:80", "[1:2:3:4:5:6:7:8]:65535",
        "[::ffff:1.2.3.4]:5", ":7000", ":0"}) {
    EXPECT_EQ(Parsed(text).ToString(), text);
  }
}

TEST(EndpointTest, PrintsOtherSpellingsInOneWay) {
  const std::pair<const char*, const char*> kSpellings[] = {
      {"localhost:7000", "127.0.0.1:7000"},
      {"[2001:DB8:0:0:0:0:0:1]:80", "[2001:db8::1]:80"},
      {"[0:0:0:0:0:0:0:0]:1", "[::]:1"},
      {"[0001::]:1", "[1::]:1"},
  };
  for (const auto& [text, printed] : kSpellings) {
    EXPECT_EQ(Parsed(text).ToString(), printed);
    EXPECT_EQ(Parsed(text), Parsed(printed));
  }
}

// Addresses decide which clients can connect: some other parser accepts each of
// these texts, and this one must not.
TEST(EndpointTest, RefusesTextsInAnyOtherForm) {
  for (absl::string_view text :
       {// no port, or nothing but one
        "", " ", "7000", "127.0.0.1", "1.2.3.4", "localhost", "[::1]", "[::1",
        "::1",
        // bad ports
        ":", "127.0.0.1:", ":65536", ":99999999999999999999", ":-1", ":-0",
        ":+1", ": 1", ":1 ", ":01", ":00", ":0x10", ":1e3", ":1.", ":http",
        "1.2.3.4:5:", "[::1]:65536", "[::1]:",
        // IPv4 in octal, hexadecimal, short or too long
        "0177.0.0.1:1", "1.2.3.04:1", "01.2.3.4:1", "0x7f.0.0.1:1",
        "0x7f000001:1", "2130706433:1", "127.1:1", "127.0.1:1", "1:1",
        "1.2.3.256:1", "1.2.3.4.5:1", "1.2.3.:1", ".1.2.3:1", "1..2.3:1",
        "1.2.3.4.:1", "-1.2.3.4:1", "+1.2.3.4:1", "1.2.3.0000004:1",
        // brackets in the wrong places
        "::1:80", "[::1]80", "[::1:80", "::1]:80", "[[::1]]:80", "[::1]]:80",
        "[]:80", "[:80", "]:80", "[1.2.3.4:80", "1.2.3.4]:80", "[localhost:80",
        "[127.0.0.1]:80", "[localhost]:80", "[:]:80",
        // not IPv6
        "[12345::]:1", "[1::2::3]:1", "[1:2:3:4:5:6:7]:1",
        "[1:2:3:4:5:6:7:8:9]:1", "[g::]:1", "[::1.2.3]:1", "[::01.2.3.4]:1",
        "[fe80::1%lo]:1", "[fe80::1%1]:1", "[::1%]:1", "[::1/64]:1",
        // blanks
        " 1.2.3.4:1", "1.2.3.4 :1", "1.2.3.4: 1", "1.2.3.4:1\n", "\t:1",
        "[ ::1]:1", "[::1 ]:1", "[::1] :1",
        // names
        "Localhost:1", "localhost.:1", "localhos:1", "example.com:1", "*:80",
        "tcp://1.2.3.4:1", "1.2.3.4:1/", "any:1"}) {
    EXPECT_THAT(
        Endpoint::Parse(text),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 HasSubstr(absl::StrCat("\"", absl::CHexEscape(text), "\""))))
        << "for " << text;
  }
}

// C functions would stop reading at the NUL, and find a valid address.
TEST(EndpointTest, RefusesTextWithANul) {
  using std::string_literals::operator""s;
  for (const std::string& text :
       {"127.0.0.1\0:1"s, "127.0.0.1\0.evil:1"s, "[::1\0]:1"s, "[::1\0x]:1"s,
        "127.0.0.1:1\0"s, "127.0.0.1:1\0002"s, "\0:1"s, "\0127.0.0.1:1"s,
        "localhost\0:1"s}) {
    EXPECT_THAT(Endpoint::Parse(text),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << "for " << ::testing::PrintToString(text);
  }
}

// The error is printed in a log where a line is a message.
TEST(EndpointTest, QuotesNoControlCharacterAsItIs) {
  EXPECT_THAT(Endpoint::Parse("\n\x1b[2J:80"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::StartsWith(
                           "\"\\n\\x1b[2J:80\" is not an endpoint: ")));
}

TEST(EndpointTest, NamesAllowedFormsInErrors) {
  const std::pair<const char*, const char*> kWrong[] = {
      {"127.0.0.1", "needs a port"},
      {":65536", "decimal number, 0 to 65535"},
      {"[fe80::1%lo]:1", "a zone (%...) is not supported"},
      {"[x]:1", "what is in brackets must be an IPv6 address"},
      {"example.com:1", "IPv6 in brackets ([::1]), localhost, or nothing"},
  };
  for (const auto& [text, allowed] : kWrong) {
    EXPECT_THAT(Endpoint::Parse(text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(text), HasSubstr(allowed))));
  }
}

// Returns the result of the C library for the parts of `text`, which are split
// in another way than by Endpoint.
bool Expected(const std::string& text, std::string* host, int* port) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  const std::string& digits = parts.back();
  static const auto* const kPorts = [] {
    auto* ports = new std::set<std::string>;
    for (int each = 0; each < 65536; ++each) ports->insert(absl::StrCat(each));
    return ports;
  }();
  if (parts.size() < 2 || kPorts->count(digits) == 0) return false;
  *port = std::atoi(digits.c_str());
  *host = text.substr(0, text.size() - digits.size() - 1);
  unsigned char bytes[16];
  if (inet_pton(AF_INET, host->c_str(), bytes) == 1) return true;
  if (host->size() < 2 || host->front() != '[' || host->back() != ']') {
    return host->empty();
  }
  *host = host->substr(1, host->size() - 2);
  return inet_pton(AF_INET6, host->c_str(), bytes) == 1;
}

TEST(EndpointTest, AgreesWithTheCLibraryOnRandomTexts) {
  std::mt19937 random(20261122);
  const auto any = [&random](size_t count) { return random() % count; };
  const std::vector<std::string> kSeeds = {"127.0.0.1:7000",
                                           "255.255.255.255:65535",
                                           "[::1]:7000",
                                           ":7000",
                                           "[2001:db8::1:0:0:1]:80",
                                           "[1:2:3:4:5:6:7:8]:65535",
                                           "[::ffff:1.2.3.4]:5"};
  const std::string kAlphabet = "0123456789abcdefx.:[]+- ";
  int good = 0;
  for (int i = 0; i < 50000; ++i) {
    std::string text = kSeeds[any(kSeeds.size())];
    for (size_t changes = any(4); changes > 0 && !text.empty(); --changes) {
      const size_t at = any(text.size());
      switch (any(3)) {
        case 0:
          text[at] = kAlphabet[any(kAlphabet.size())];
          break;
        case 1:
          text.insert(at, 1, kAlphabet[any(kAlphabet.size())]);
          break;
        default:
          text.erase(at, 1);
      }
    }
    std::string host;
    int port = -1;
    const bool expected = Expected(text, &host, &port);
    const absl::StatusOr<Endpoint> endpoint = Endpoint::Parse(text);
    ASSERT_EQ(endpoint.ok(), expected) << text;
    if (!expected) continue;
    ++good;
    ASSERT_EQ(endpoint->port(), port) << text;
    ASSERT_EQ(Parsed(endpoint->ToString()), *endpoint) << text;
    if (host.empty()) continue;
    unsigned char bytes[16];
    const int family = endpoint->is_ipv6() ? AF_INET6 : AF_INET;
    ASSERT_EQ(inet_pton(family, host.c_str(), bytes), 1) << text;
    const sockaddr_storage storage = StorageOf(*endpoint);
    if (endpoint->is_ipv6()) {
      const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(storage);
      ASSERT_EQ(std::memcmp(&ipv6.sin6_addr, bytes, 16), 0) << text;
    } else {
      const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(storage);
      ASSERT_EQ(std::memcmp(&ipv4.sin_addr, bytes, 4), 0) << text;
    }
  }
  EXPECT_GT(good, 10000);
  EXPECT_LT(good, 40000);
}

TEST(EndpointTest, IsTheUnspecifiedIpv4AddressByDefault) {
  EXPECT_EQ(Endpoint().ToString(), "0.0.0.0:0");
  EXPECT_EQ(Endpoint(), Parsed("0.0.0.0:0"));
}

TEST(EndpointTest, ConvertsToSockaddrAndBack) {
  for (const char* text : {"1.2.3.4:5", "[2001:db8::1]:80", "[::]:0"}) {
    EXPECT_EQ(Endpoint::FromSockaddr(StorageOf(Parsed(text))), Parsed(text));
  }
}

TEST(EndpointTest, PrintsMappedIpv4PeerAsIpv4) {
  const Endpoint peer =
      Endpoint::FromSockaddr(StorageOf(Parsed("[::ffff:1.2.3.4]:5")));
  EXPECT_EQ(peer.ToString(), "1.2.3.4:5");
  EXPECT_EQ(peer, Parsed("1.2.3.4:5"));
  EXPECT_FALSE(peer.is_ipv6());
}

TEST(EndpointTest, KeepsTheInterfaceOfALinkLocalPeer) {
  sockaddr_storage storage = StorageOf(Parsed("[fe80::1]:5"));
  reinterpret_cast<sockaddr_in6&>(storage).sin6_scope_id = 7;
  const Endpoint peer = Endpoint::FromSockaddr(storage);
  EXPECT_EQ(
      reinterpret_cast<const sockaddr_in6*>(peer.address())->sin6_scope_id, 7u);
  EXPECT_NE(peer, Parsed("[fe80::1]:5"));
}

TEST(EndpointTest, TreatsOtherFamiliesAsTheDefaultEndpoint) {
  sockaddr_storage storage = StorageOf(Parsed("1.2.3.4:5"));
  storage.ss_family = AF_NETLINK;
  EXPECT_EQ(Endpoint::FromSockaddr(storage), Endpoint());
}

TEST(EndpointTest, ChangesThePortAlone) {
  for (const char* host : {"1.2.3.4:", "[::1]:", ":"}) {
    const Endpoint endpoint = Parsed(absl::StrCat(host, 80)).WithPort(65535);
    EXPECT_EQ(endpoint.port(), 65535);
    EXPECT_EQ(endpoint, Parsed(absl::StrCat(host, 65535)));
  }
}

TEST(EndpointTest, DistinguishesEveryAddressFromEveryIpv6Address) {
  EXPECT_TRUE(Parsed(":80").dual_stack());
  EXPECT_TRUE(Parsed(":80").is_ipv6());
  EXPECT_FALSE(Parsed("[::]:80").dual_stack());
  EXPECT_FALSE(Parsed("0.0.0.0:80").dual_stack());
  EXPECT_NE(Parsed(":80"), Parsed("[::]:80"));
}

TEST(EndpointTest, IsEveryIpv4AddressOnAMachineWithoutIpv6) {
  EXPECT_EQ(Parsed(":80").WithoutIpv6(), Parsed("0.0.0.0:80"));
  EXPECT_EQ(Parsed("[::1]:80").WithoutIpv6(), Parsed("[::1]:80"));
}

TEST(EndpointTest, ReportsLengthOfSockaddr) {
  EXPECT_EQ(Parsed("1.2.3.4:5").address_length(), sizeof(sockaddr_in));
  EXPECT_EQ(Parsed("[::1]:5").address_length(), sizeof(sockaddr_in6));
}

TEST(EndpointTest, IsAPlainValue) {
  EXPECT_TRUE(std::is_trivially_copyable<Endpoint>::value);
}

TEST(EndpointTest, ParsesUnixSockets) {
  for (const std::string& text :
       {std::string("unix:/run/echo.sock"), std::string("unix:/"),
        std::string("unix:/a:7000"), std::string("unix:/\xc3\xa9"),
        std::string("unix:@echo"), std::string("unix:@/x"),
        "unix:/" + std::string(106, 'x'), "unix:@" + std::string(107, 'x')}) {
    const Endpoint endpoint = Parsed(text);
    EXPECT_TRUE(endpoint.is_unix());
    EXPECT_FALSE(endpoint.is_ipv6() || endpoint.dual_stack());
    EXPECT_EQ(endpoint.ToString(), text);
    EXPECT_EQ(endpoint, Parsed(text));
    EXPECT_NE(endpoint, Parsed(text.substr(0, 6) + "other"));
    EXPECT_EQ(endpoint.port(), 0);
    EXPECT_EQ(endpoint.WithPort(80), endpoint);
    EXPECT_EQ(endpoint.WithoutIpv6(), endpoint);
    EXPECT_EQ(endpoint.WithIpv4(), endpoint);
    EXPECT_EQ(endpoint.path(), text[5] == '/' ? text.substr(5) : "");
    EXPECT_EQ(endpoint.address_length(), sizeof(sa_family_t) + text.size() - 5);
    sockaddr_un address = {};
    std::memcpy(&address, endpoint.address(), endpoint.address_length());
    EXPECT_THAT(Endpoint::FromUnix(address, endpoint.address_length()),
                IsOkAndHolds(endpoint));
    EXPECT_EQ(endpoint.ToAddress(), PeerAddress::Unix());
  }
}

TEST(EndpointTest, RefusesMalformedUnixSocketNames) {
  using std::string_literals::operator""s;
  const std::pair<std::string, const char*> kWrong[] = {
      {"unix:", "an absolute path, or @ and a name"},
      {"unix:@", "an absolute path, or @ and a name"},
      {"unix:run/x", "an absolute path, or @ and a name"},
      {"unix:./x", "an absolute path, or @ and a name"},
      {"unix: /x", "an absolute path, or @ and a name"},
      {"unix:/" + std::string(107, 'x'), "at most 107 bytes"},
      {"unix:@" + std::string(108, 'x'), "at most 107 bytes"},
      {"unix:/a b", "without blanks"},
      {"unix:/a\n", "without blanks"},
      {"unix:/a,b", "without blanks, control characters and commas"},
      {"unix:/a\0b"s, "NUL"},
      {"unix:\0a"s, "NUL"},
      {"Unix:/x", "port"},
      {"unix/x", "port"},
  };
  for (const auto& [text, allowed] : kWrong) {
    EXPECT_THAT(
        Endpoint::Parse(text),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(allowed)))
        << text;
  }
}

// A client may bind its socket to any name.
TEST(EndpointTest, HasNoNameIfItIsAUnixClient) {
  const Endpoint server = Parsed("unix:/run/echo.sock");
  sockaddr_storage storage = {};
  std::memcpy(&storage, server.address(), server.address_length());
  const Endpoint peer = Endpoint::FromSockaddr(storage);
  EXPECT_TRUE(peer.is_unix());
  EXPECT_EQ(peer.ToString(), "unix:");
  EXPECT_EQ(peer.path(), "");
  EXPECT_NE(peer, server);
  EXPECT_EQ(peer.address_length(), sizeof(sa_family_t));
  EXPECT_EQ(Endpoint::FromAddress(peer.ToAddress()), peer);
}

TEST(EndpointTest, ConvertsToAnAddressAndBack) {
  for (const char* text : {"1.2.3.4:5", "[2001:db8::1]:80", "[::]:0"}) {
    const PeerAddress address = Parsed(text).ToAddress();
    EXPECT_EQ(address.ToString(), text);
    EXPECT_EQ(Endpoint::FromAddress(address), Parsed(text));
  }
  EXPECT_EQ(Endpoint::FromAddress(PeerAddress::Unix()).ToString(), "unix:");
}

TEST(EndpointTest, ComparesWithAnAddress) {
  const Endpoint endpoint = Parsed("1.2.3.4:5");
  EXPECT_TRUE(endpoint == Parsed("[::ffff:1.2.3.4]:5").ToAddress());
  EXPECT_TRUE(Parsed("1.2.3.4:5").ToAddress() == endpoint);
  EXPECT_TRUE(endpoint != Parsed("1.2.3.4:6").ToAddress());
  EXPECT_TRUE(Parsed("1.2.3.5:5").ToAddress() != endpoint);
  // Neither a listener of every address nor one with a name is a peer.
  EXPECT_FALSE(Parsed(":80") == Parsed(":80").ToAddress());
  EXPECT_FALSE(Parsed("unix:/run/echo.sock") == PeerAddress::Unix());
}

TEST(EndpointTest, ParsesAnyNumberOfNames) {
  for (int i = 0; i < 5000; ++i) {
    const std::string text = absl::StrCat("unix:/run/", i);
    EXPECT_EQ(Parsed(text).ToString(), text);
  }
}

TEST(EndpointTest, KeepsItsNameAfterTheTextIsGone) {
  Endpoint copy;
  {
    const Endpoint endpoint = Parsed("unix:/run/echo.sock");
    copy = endpoint;
  }
  EXPECT_EQ(copy.path(), "/run/echo.sock");
  EXPECT_EQ(copy, Parsed("unix:/run/echo.sock"));
  copy = Parsed("1.2.3.4:5");
  EXPECT_EQ(copy, Parsed("1.2.3.4:5"));
}

TEST(EndpointTest, PrintsTheLongestIntoTheSizeItPromises) {
  for (const std::string& longest :
       {std::string("[1111:2222:3333:4444:5555:6666:255.255.255.255]:65535"),
        "unix:@" + std::string(107, 'y')}) {
    char text[Endpoint::kTextSize];
    std::memset(text, 'x', sizeof(text));
    const absl::string_view printed = Parsed(longest).Print(text);
    EXPECT_EQ(printed, Parsed(longest).ToString());
    EXPECT_EQ(printed.data(), text);
    EXPECT_EQ(std::strlen(text), printed.size());
  }
}

}  // namespace
}  // namespace brood::net
