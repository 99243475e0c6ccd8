// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec/environment.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "brood/net/endpoint.h"
#include "brood/net/peer_address.h"
#include "brood/server/exec/variables.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

net::Endpoint At(const char* text) { return *net::Endpoint::Parse(text); }

ConnectionFacts Tcp(const char* peer, const char* local) {
  return {At(peer).ToAddress(), At(local), absl::nullopt, 3};
}

std::vector<std::string> TextsOf(Variables& variables) {
  std::vector<std::string> texts;
  for (char* const* each = variables.Environment(); *each != nullptr; ++each) {
    texts.emplace_back(*each);
  }
  return texts;
}

std::vector<std::string> VariablesOf(const ConnectionFacts& facts) {
  Variables variables({});
  AddConnectionVariables(facts, &variables);
  return TextsOf(variables);
}

TEST(ConnectionVariablesTest, DescribeIpv4) {
  EXPECT_THAT(
      VariablesOf(Tcp("192.0.2.7:40112", "198.51.100.1:7000")),
      ElementsAre("PROTO=TCP", "TCPLOCALIP=198.51.100.1", "TCPLOCALPORT=7000",
                  "TCPREMOTEIP=192.0.2.7", "TCPREMOTEPORT=40112",
                  "TCPCONNNUM=2", "TCPCONCURRENCY=3", "REMOTE_ADDR=192.0.2.7",
                  "REMOTE_PORT=40112"));
}

// As in UCSPI, PROTO names no version, and addresses have no brackets.
TEST(ConnectionVariablesTest, DescribeIpv6) {
  EXPECT_THAT(
      VariablesOf(Tcp("[2001:db8::7]:40112", "[2001:db8::1]:7000")),
      ElementsAre("PROTO=TCP", "TCPLOCALIP=2001:db8::1", "TCPLOCALPORT=7000",
                  "TCPREMOTEIP=2001:db8::7", "TCPREMOTEPORT=40112",
                  "TCPCONNNUM=2", "TCPCONCURRENCY=3", "REMOTE_ADDR=2001:db8::7",
                  "REMOTE_PORT=40112"));
}

// An IPv4 client of a dual-stack listener, as accept() reports it.
TEST(ConnectionVariablesTest, DescribeMappedAddressesAsIpv4) {
  sockaddr_storage mapped = {};
  auto* ipv6 = reinterpret_cast<sockaddr_in6*>(&mapped);
  ipv6->sin6_family = AF_INET6;
  ipv6->sin6_port = htons(40112);
  const unsigned char host[] = {0, 0, 0,    0,    0,   0, 0, 0,
                                0, 0, 0xff, 0xff, 192, 0, 2, 7};
  std::copy(std::begin(host), std::end(host), ipv6->sin6_addr.s6_addr);
  const ConnectionFacts facts = {net::PeerAddress::FromSockaddr(mapped),
                                 net::Endpoint::FromSockaddr(mapped),
                                 absl::nullopt, 3};
  EXPECT_THAT(
      VariablesOf(facts),
      ElementsAre("PROTO=TCP", "TCPLOCALIP=192.0.2.7", "TCPLOCALPORT=40112",
                  "TCPREMOTEIP=192.0.2.7", "TCPREMOTEPORT=40112",
                  "TCPCONNNUM=2", "TCPCONCURRENCY=3", "REMOTE_ADDR=192.0.2.7",
                  "REMOTE_PORT=40112"));
}

TEST(ConnectionVariablesTest, DescribeUnixSockets) {
  ConnectionFacts facts = {net::PeerAddress::Unix(), At("unix:/run/x.sock"),
                           ucred{5, 1000, 100}, 3};
  EXPECT_THAT(VariablesOf(facts),
              ElementsAre("PROTO=IPC", "IPCLOCALPATH=/run/x.sock",
                          "IPCREMOTEEUID=1000", "IPCREMOTEEGID=100"));
  facts = {net::PeerAddress::Unix(), At("unix:@x"), absl::nullopt, 3};
  EXPECT_THAT(VariablesOf(facts), ElementsAre("PROTO=IPC", "IPCLOCALPATH=@x"));
}

TEST(ConnectionVariablesTest, OfInetdNameTheClient) {
  Variables variables({});
  AddInetdVariables({net::PeerAddress::Unix(), At("unix:@x"), absl::nullopt, 3},
                    &variables);
  EXPECT_THAT(TextsOf(variables), IsEmpty());
  AddInetdVariables(Tcp("[::1]:5", "[::1]:6"), &variables);
  EXPECT_THAT(TextsOf(variables), ElementsAre("REMOTE_HOST=::1"));
}

TEST(ConnectionVariablesTest, OfSystemdNameTheProgram) {
  Variables variables({});
  AddSystemdVariables(4711, &variables);
  EXPECT_THAT(TextsOf(variables), ElementsAre("LISTEN_FDS=1", "LISTEN_PID=4711",
                                              "LISTEN_FDNAMES=connection"));
}

TEST(LastingVariablesTest, AreThoseThatEveryProgramNeeds) {
  const char* const inherited[] = {"PATH=/bin",
                                   "TCPREMOTEIP=192.0.2.9",
                                   "LC_ALL=C",
                                   "LC_=x",
                                   "LD_PRELOAD=x.so",
                                   "HOME=/root",
                                   "LANG",
                                   "TZ=",
                                   "LISTEN_FDS=3",
                                   "LC_A%%=() { :; }",
                                   nullptr};
  EXPECT_THAT(LastingVariables(inherited, {}),
              IsOkAndHolds(ElementsAre("PATH=/bin", "LC_ALL=C", "LC_=x",
                                       "HOME=/root", "TZ=")));
  EXPECT_THAT(LastingVariables(nullptr, {}), IsOkAndHolds(IsEmpty()))
      << "environ is null after clearenv()";
}

TEST(LastingVariablesTest, AreReplacedByThoseThatAreAdded) {
  const char* const inherited[] = {"PATH=/bin", "SECRET=1", "PATH=/second",
                                   nullptr};
  EXPECT_THAT(
      LastingVariables(inherited, {"A=1", "PATH=/sbin", "SECRET", "A=2=3"}),
      IsOkAndHolds(ElementsAre("PATH=/sbin", "SECRET=1", "A=2=3")));
  EXPECT_THAT(LastingVariables(inherited, {}),
              IsOkAndHolds(ElementsAre("PATH=/bin")));
}

TEST(LastingVariablesTest, RefuseWhatIsNoVariableOrIsSetForEachConnection) {
  for (const char* const name :
       {"", "=x", "1A=x", "A B=x", "A-B", "TCPREMOTEIP=192.0.2.1",
        "TCPREMOTEHOST", "REMOTE_HOST=x", "LISTEN_PID=1", "PROTO=TCP",
        "IPCREMOTEPATH=x", "TCPCONNNUM=1", "TCPCONCURRENCY", "NOT_SET"}) {
    EXPECT_THAT(LastingVariables(nullptr, {name}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         StartsWith(absl::StrCat("environment=", name, ": "))))
        << name;
  }
  EXPECT_THAT(LastingVariables(nullptr, {std::string("A=x\0y", 5)}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("environment=A=x\\x00y: ")));
}

}  // namespace
}  // namespace brood::server
