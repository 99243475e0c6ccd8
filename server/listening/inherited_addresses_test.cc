// SPDX-License-Identifier: Apache-2.0

// O8: an inherited listener serves each entry of Options::listen that it
// covers, by what the kernel binds.
//
// Tried, each also after one more upgrade: dual-stack wildcards, wildcards of
// IPv6 and of IPv4 alone, both together, mapped addresses, localhost and single
// addresses; entries of one and of several of them; entries that no program
// could bind at once; entries that the listener does not cover.

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/net/socket.h"
#include "brood/server/listening/inheritance_fixture.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::EventsOf;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

struct Row {
  // The inherited listeners; PORT is the port of the first one.
  std::vector<std::string> inherited;
  std::vector<std::string> listen;
  // Where the server listens.
  std::vector<std::string> opened;
  // The entries whose listeners accept more connections than they name: entries
  // of every address, and of one.
  std::vector<std::string> wider = {};
  std::vector<std::string> much_wider = {};
};

class InheritedAddressesTest : public InheritanceTest {
 protected:
  void SetUp() override {
    const net::Socket ipv6 =
        net::Socket::Adopt(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!ipv6.valid()) GTEST_SKIP() << "this machine has no IPv6";
  }

  // Returns an IPv6 socket that listens at the IPv4 address `text`.
  static net::Listener ListenMapped(const std::string& text) {
    net::Socket socket =
        net::Socket::Adopt(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int no = 0;
    setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    const net::Endpoint endpoint = *net::Endpoint::Parse(text);
    EXPECT_EQ(bind(socket.fd(), endpoint.address(), endpoint.address_length()),
              0);
    EXPECT_EQ(listen(socket.fd(), 8), 0);
    return *net::Listener::Adopt(std::move(socket));
  }

  // Opens the listeners of `row` as those of a service manager.
  void Begin(const Row& row) {
    holders_.clear();
    port_ = "0";
    for (const std::string& text : row.inherited) {
      const std::string at = WithPort(text);
      holders_.push_back(at.rfind("[::ffff:", 0) == 0 ? ListenMapped(at)
                                                      : ListenAt(at));
      port_ = absl::StrCat(holders_.front().endpoint().port());
      Inherit(holders_.back());
    }
    options_.listen = WithPort(row.listen);
  }

  std::string WithPort(const std::string& text) const {
    return absl::StrReplaceAll(text, {{"PORT", port_}});
  }
  std::vector<std::string> WithPort(std::vector<std::string> texts) const {
    for (std::string& text : texts) text = WithPort(text);
    return texts;
  }
  std::vector<std::string> WiderEntries(const std::string& level) const {
    std::vector<std::string> entries;
    for (const auto& event :
         EventsOf(log_, "inherited-listener-wider", {{"log.level", level}})) {
      entries.push_back(event.Text("brood.entry"));
    }
    return entries;
  }

  // The service manager, which keeps its listeners.
  std::vector<net::Listener> holders_;
  std::string port_;
};

TEST_F(InheritedAddressesTest, ServeTheEntriesThatTheyCover) {
  const Row kRows[] = {
      {{":PORT"}, {":PORT"}, {":PORT"}},
      {{":PORT"}, {"[::]:PORT"}, {":PORT"}, {"[::]:PORT"}},
      {{":PORT"}, {"0.0.0.0:PORT"}, {":PORT"}, {"0.0.0.0:PORT"}},
      {{":PORT"},
       {"0.0.0.0:PORT", "[::]:PORT"},
       {":PORT"},
       {"0.0.0.0:PORT", "[::]:PORT"}},
      {{":PORT"}, {"127.0.0.1:PORT"}, {":PORT"}, {}, {"127.0.0.1:PORT"}},
      {{":PORT"}, {"localhost:PORT"}, {":PORT"}, {}, {"localhost:PORT"}},
      {{":PORT"}, {"[::1]:PORT"}, {":PORT"}, {}, {"[::1]:PORT"}},
      {{":PORT"},
       {"[::ffff:127.0.0.1]:PORT"},
       {":PORT"},
       {},
       {"[::ffff:127.0.0.1]:PORT"}},
      {{":PORT"},
       {"[::1]:PORT", "127.0.0.1:PORT", "127.0.0.2:PORT"},
       {":PORT"},
       {},
       {"[::1]:PORT", "127.0.0.1:PORT", "127.0.0.2:PORT"}},
      {{"0.0.0.0:PORT"}, {"0.0.0.0:PORT"}, {"0.0.0.0:PORT"}},
      {{"0.0.0.0:PORT"},
       {"127.0.0.1:PORT"},
       {"0.0.0.0:PORT"},
       {},
       {"127.0.0.1:PORT"}},
      {{"[::]:PORT"}, {"[::1]:PORT"}, {"[::]:PORT"}, {}, {"[::1]:PORT"}},
      {{"127.0.0.1:PORT"}, {"localhost:PORT"}, {"127.0.0.1:PORT"}},
      {{"127.0.0.1:PORT"}, {"[::ffff:127.0.0.1]:PORT"}, {"127.0.0.1:PORT"}},
      {{"[::ffff:127.0.0.1]:PORT"}, {"127.0.0.1:PORT"}, {"127.0.0.1:PORT"}},
      {{"[::ffff:0.0.0.0]:PORT"}, {"0.0.0.0:PORT"}, {"0.0.0.0:PORT"}},
      {{"[::1]:PORT"}, {"[0::0:1]:PORT"}, {"[::1]:PORT"}},
      // The halves of every address: a half that is missing is bound.
      {{"[::]:PORT", "0.0.0.0:PORT"}, {":PORT"}, {"[::]:PORT", "0.0.0.0:PORT"}},
      {{"0.0.0.0:PORT"}, {":PORT"}, {"0.0.0.0:PORT", "[::]:PORT (bound)"}},
      {{"[::]:PORT"}, {":PORT"}, {"[::]:PORT", "0.0.0.0:PORT (bound)"}},
      {{"[::]:PORT", "0.0.0.0:PORT"},
       {"0.0.0.0:PORT", "[::]:PORT"},
       {"0.0.0.0:PORT", "[::]:PORT"}},
      {{":PORT"}, {":PORT", "inherited"}, {":PORT"}},
      {{":PORT", "127.0.0.1:0"}, {"[::]:PORT"}, {":PORT"}, {"[::]:PORT"}},
  };
  for (const Row& row : kRows) {
    SCOPED_TRACE(absl::StrCat(absl::StrJoin(row.inherited, ","), " for ",
                              absl::StrJoin(row.listen, ",")));
    Begin(row);
    ASSERT_THAT(Open(), IsOk());
    std::vector<std::string> opened = WithPort(row.opened);
    EXPECT_THAT(Opened(), ElementsAreArray(opened));
    for (int upgrade = 0; upgrade < 2; ++upgrade) {
      EXPECT_THAT(WiderEntries("info"), ElementsAreArray(WithPort(row.wider)));
      EXPECT_THAT(WiderEntries("warning"),
                  ElementsAreArray(WithPort(row.much_wider)));
      Upgrade();
      ASSERT_THAT(Open(), IsOk());
      for (std::string& text : opened) text = text.substr(0, text.find(' '));
      EXPECT_THAT(Opened(), ElementsAreArray(opened)) << "after an upgrade";
      EXPECT_THAT(EventsOf(log_, "inherited-listener-unused"), IsEmpty());
    }
    opened_.clear();
  }
}

// An upgrade that changes the addresses of what this server has bound.
TEST_F(InheritedAddressesTest, AreAddedToByAnUpgrade) {
  options_.listen = {"0.0.0.0:0"};
  ASSERT_THAT(Open(), IsOk());
  port_ = absl::StrCat(opened_[0].socket.endpoint().port());
  options_.listen = {WithPort(":PORT")};
  Upgrade();
  ASSERT_THAT(Open(), IsOk());
  EXPECT_THAT(Opened(), ElementsAreArray(WithPort(std::vector<std::string>{
                            "0.0.0.0:PORT", "[::]:PORT (bound)"})));
  EXPECT_TRUE(opened_[0].ends_with_server && opened_[1].ends_with_server);
}

// Two entries that could not be bound together without an inherited listener
// are refused with one, too: the next start would fail.
TEST_F(InheritedAddressesTest, ServeNoTwoEntriesThatOverlap) {
  for (const std::string other :
       {"127.0.0.1:PORT", "[::1]:PORT", "[::]:PORT", "0.0.0.0:PORT"}) {
    Begin({{":PORT"}, {":PORT", other}, {}});
    EXPECT_THAT(Open(), StatusIs(absl::ErrnoToStatusCode(EADDRINUSE))) << other;
  }
}

TEST_F(InheritedAddressesTest, ServeNoEntryThatTheyDoNotCover) {
  const Row kRows[] = {
      {{"[::]:PORT"}, {"0.0.0.0:PORT"}, {"0.0.0.0:PORT (bound)"}},
      {{"[::]:PORT"}, {"127.0.0.1:PORT"}, {"127.0.0.1:PORT (bound)"}},
      {{"0.0.0.0:PORT"}, {"[::]:PORT"}, {"[::]:PORT (bound)"}},
      {{"127.0.0.1:PORT"}, {"127.0.0.2:PORT"}, {"127.0.0.2:PORT (bound)"}},
      {{"[::1]:PORT"}, {"localhost:PORT"}, {"127.0.0.1:PORT (bound)"}},
  };
  for (const Row& row : kRows) {
    SCOPED_TRACE(absl::StrCat(absl::StrJoin(row.inherited, ","), " for ",
                              absl::StrJoin(row.listen, ",")));
    Begin(row);
    ASSERT_THAT(Open(), IsOk());
    EXPECT_THAT(Opened(), ElementsAreArray(WithPort(row.opened)));
    EXPECT_EQ(EventsOf(log_, "inherited-listener-unused").size(), 1u);
  }
}

}  // namespace
}  // namespace brood::server
