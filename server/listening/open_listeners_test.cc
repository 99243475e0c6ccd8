// SPDX-License-Identifier: Apache-2.0

#include "brood/server/listening/open_listeners.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/net/socket.h"
#include "brood/server/inherited_listener.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/short_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;
using ::brood::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::StartsWith;

class OpenListenersTest : public ::brood::testing::LeakCheck {
 protected:
  // Makes a listener at `text`, which another program had for the entry
  // `served`, an inherited one of the next Open(). Returns where it listens.
  net::Endpoint Inherit(absl::string_view text,
                        const std::string& served = "") {
    net::Listener listener =
        *net::Listener::Listen(*net::Endpoint::Parse(text), 8);
    const int fd = dup(listener.fd());
    EXPECT_GE(fd, 0);
    inherited_.push_back({net::Socket::Adopt(fd), served});
    return listener.endpoint();
  }

  absl::StatusOr<Listeners> Open(LogLevel log_level = LogLevel::kOff) {
    EventLog log(log_level);
    absl::StatusOr<Listeners> opened =
        OpenListeners(options_, std::exchange(inherited_, {}), &log);
    if (!opened.ok()) return opened;
    for (OpenedListener& each : *opened) each.new_file.Keep();
    return opened;
  }
  static ino_t SocketOf(int fd) {
    struct stat file = {};
    EXPECT_EQ(fstat(fd, &file), 0);
    return file.st_ino;
  }
  // Opens the listeners, and expects that every inherited one is used. Returns
  // the endpoints.
  std::vector<std::string> OpenedEndpoints() {
    std::vector<ino_t> inherited, in_use;
    for (const InheritedListener& each : inherited_) {
      inherited.push_back(SocketOf(each.socket.fd()));
    }
    const absl::StatusOr<Listeners> opened = Open();
    EXPECT_THAT(opened, IsOk());
    std::vector<std::string> endpoints;
    if (!opened.ok()) return endpoints;
    for (const OpenedListener& each : *opened) {
      const net::Listener& listener = each.socket;
      EXPECT_TRUE(listener.open());
      EXPECT_EQ(fcntl(listener.fd(), F_GETFD), FD_CLOEXEC);
      endpoints.push_back(listener.endpoint().ToString());
      in_use.push_back(SocketOf(listener.fd()));
    }
    EXPECT_THAT(in_use, IsSupersetOf(inherited)) << "it was bound again";
    return endpoints;
  }

  static std::vector<std::string> EntriesOf(const Listeners& opened) {
    std::vector<std::string> entries;
    for (const OpenedListener& each : opened) entries.push_back(each.entry);
    return entries;
  }

  const ShortDir dir_;
  Options options_;
  std::vector<InheritedListener> inherited_;
};

TEST_F(OpenListenersTest, BindsAnEntryForWhichNothingWasInherited) {
  options_.listen = {"127.0.0.1:0", "unix:" + dir_.File("s")};
  const absl::StatusOr<Listeners> opened = Open();
  ASSERT_THAT(opened, IsOk());
  EXPECT_EQ((*opened)[0].socket.endpoint().WithPort(0).ToString(),
            "127.0.0.1:0");
  EXPECT_EQ((*opened)[1].socket.endpoint(), dir_.Socket("s"));
  EXPECT_EQ(EntriesOf(*opened), options_.listen);
}

TEST_F(OpenListenersTest, GivesAnEntryTheDescriptorOfItsAddress) {
  const std::string first = Inherit("127.0.0.1:0").ToString();
  const std::string second = Inherit("127.0.0.1:0").ToString();
  const std::string third =
      Inherit(absl::StrCat("unix:", dir_.File("s"))).ToString();
  options_.listen = {third, second, first};
  EXPECT_THAT(OpenedEndpoints(), ElementsAre(third, second, first));
}

TEST_F(OpenListenersTest, GivesAnEntryThatLeavesThePortOpenOneOfItsHost) {
  const std::string other = Inherit("127.0.0.2:0").ToString();
  const std::string named = Inherit("127.0.0.1:0").ToString();
  const std::string free = Inherit("127.0.0.1:0").ToString();
  options_.listen = {"127.0.0.1:0", named, other};
  EXPECT_THAT(OpenedEndpoints(), ElementsAre(free, named, other));
}

TEST_F(OpenListenersTest, DoesNotMatchEveryAddressWithEveryIpv6Address) {
  const net::Endpoint every = Inherit(":0");
  if (!every.is_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  options_.listen = {every.ToString()};
  EXPECT_THAT(OpenedEndpoints(), ElementsAre(every.ToString()));

  const net::Endpoint ipv6 = Inherit("[::]:0");
  options_.listen = {":0", "inherited"};
  const std::vector<std::string> opened = OpenedEndpoints();
  ASSERT_EQ(opened.size(), 2u);
  EXPECT_THAT(opened[0], StartsWith(":"));
  EXPECT_EQ(opened[1], ipv6.ToString());
}

// An upgrade relies on this: the new program may have other numbers and another
// order.
TEST_F(OpenListenersTest, GivesAnEntryTheDescriptorThatServedItBefore) {
  const std::string by_number = Inherit("127.0.0.1:0", "fd:3").ToString();
  const std::string second = Inherit("127.0.0.1:0", "127.0.0.1:0").ToString();
  const std::string third = Inherit("127.0.0.1:0", "127.0.0.1:0").ToString();
  const std::string rest = Inherit("127.0.0.1:0", "inherited").ToString();
  options_.listen = {"inherited", "127.0.0.1:0", "fd:3", "127.0.0.1:0"};
  EXPECT_THAT(OpenedEndpoints(), ElementsAre(rest, second, by_number, third));
}

// A descriptor with the number N that served another entry before does not
// serve fd:N.
TEST_F(OpenListenersTest, DoesNotMatchFdEntriesWithNumbersOfTheNewProgram) {
  for (const bool entry_is_left : {true, false}) {
    Inherit("127.0.0.1:0", "127.0.0.1:0");
    options_.listen = {absl::StrCat("fd:", inherited_[0].socket.fd())};
    if (entry_is_left) options_.listen.push_back("127.0.0.1:0");
    EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("serves another entry")));
  }
}

TEST_F(OpenListenersTest, KeepsItsListenersThroughSeveralUpgrades) {
  Inherit("127.0.0.1:0");
  const net::Endpoint numbered = Inherit("127.0.0.3:0");
  Inherit("127.0.0.4:0");
  options_.listen = {"unix:" + dir_.File("s"), "127.0.0.1:0",
                     absl::StrCat("fd:", inherited_[1].socket.fd()),
                     "127.0.0.2:0", "inherited"};
  std::vector<std::string> before;
  for (int generation = 0; generation < 3; ++generation) {
    absl::StatusOr<Listeners> opened = Open();
    ASSERT_THAT(opened, IsOk());
    std::vector<std::string> now;
    for (const OpenedListener& each : *opened) {
      now.push_back(each.socket.endpoint().ToString());
      inherited_.insert(inherited_.begin(),
                        {net::Socket::Adopt(dup(each.socket.fd())), each.entry,
                         each.ends_with_server});
    }
    EXPECT_THAT(now, ::testing::SizeIs(5));
    EXPECT_EQ((*opened)[2].socket.endpoint(), numbered);
    if (!before.empty()) {
      EXPECT_EQ(now, before);
    }
    before = now;
  }
  inherited_.clear();  // closes them
}

TEST_F(OpenListenersTest, GivesInheritedTheListenersThatNoOtherEntryMeans) {
  const std::string first = Inherit("127.0.0.1:0").ToString();
  // Another entry means this listener now.
  const std::string second = Inherit("127.0.0.1:0", "inherited").ToString();
  const std::string third = Inherit("127.0.0.1:0").ToString();
  options_.listen = {"inherited", second};
  EXPECT_THAT(OpenedEndpoints(), ElementsAre(first, third, second));
}

TEST_F(OpenListenersTest, ReturnsAnErrorIfNothingWasInherited) {
  options_.listen = {"127.0.0.1:0", "inherited"};
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                               "listen=inherited: no listening descriptor was "
                               "inherited"));
}

TEST_F(OpenListenersTest, ClosesAndLogsAListenerThatNoEntryMeans) {
  const std::string asked = Inherit("127.0.0.1:0").ToString();
  const std::string unasked = Inherit("127.0.0.1:0").ToString();
  const int fd = inherited_[1].socket.fd();
  options_.listen = {asked};
  ::testing::internal::CaptureStderr();
  const absl::StatusOr<Listeners> opened = Open(LogLevel::kWarning);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr(absl::StrCat("inherited descriptor ", fd,
                                     " is closed: it listens on ", unasked,
                                     ", which no entry of listen= names")));
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
}

TEST_F(OpenListenersTest, AdoptsADescriptorThatWasNotInherited) {
  const std::string endpoint = Inherit("127.0.0.1:0").ToString();
  options_.listen = {
      absl::StrCat("fd:", std::move(inherited_[0].socket).Release())};
  inherited_.clear();
  EXPECT_THAT(OpenedEndpoints(), ElementsAre(endpoint));
}

// R47: the error names the descriptor, and nothing stays open.
TEST_F(OpenListenersTest, RefusesADescriptorThatDoesNotListen) {
  const int event = eventfd(0, 0);
  inherited_.push_back({net::Socket::Adopt(event), ""});
  Inherit("127.0.0.1:0");
  options_.listen = {"inherited"};
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       absl::StrCat("fd:", event,
                                    " is not a listening stream socket")));
}

// The descriptor may be anything, and belong to other code.
TEST_F(OpenListenersTest, LeavesADescriptorOpenThatDoesNotListen) {
  const int event = eventfd(0, EFD_CLOEXEC);
  options_.listen = {absl::StrCat("fd:", event)};
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(close(event), 0) << "it was closed";
}

TEST_F(OpenListenersTest, RefusesADescriptorForTwoEntries) {
  for (const bool inherited : {true, false}) {
    Inherit("127.0.0.1:0");
    const std::string entry = absl::StrCat("fd:", inherited_[0].socket.fd());
    if (!inherited) {
      std::move(inherited_[0].socket).Release();
      inherited_.clear();
    }
    options_.listen = {entry, entry};
    EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                                 absl::StrCat("listen=", entry,
                                              ": this descriptor serves "
                                              "another entry")));
  }
}

// An entry must not mean the number that a listener gets when it is bound.
TEST_F(OpenListenersTest, ChecksEveryDescriptorBeforeItBinds) {
  // A number that the log does not use.
  const int next = fcntl(STDIN_FILENO, F_DUPFD, 500);
  close(next);
  options_.listen = {"127.0.0.1:0", absl::StrCat("fd:", next)};
  EXPECT_THAT(Open(), StatusIs(absl::ErrnoToStatusCode(EBADF),
                               HasSubstr(absl::StrCat("fd:", next, ": "))));
}

TEST_F(OpenListenersTest, RefusesADeadlineThatItCannotKeep) {
  Inherit(absl::StrCat("unix:", dir_.File("s")));
  options_.listen = {"inherited"};
  options_.deadlines.idle = absl::Seconds(5);
  EXPECT_THAT(
      Open(),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(StartsWith("deadlines.idle=5s: must be 0 with unix:"),
                     HasSubstr("deadlines.connection"))));
}

TEST_F(OpenListenersTest, SetsTheModeOfTheFileOfASocket) {
  options_.listen = {"unix:" + dir_.File("s")};
  options_.unix_mode = 0660;
  const absl::StatusOr<Listeners> opened = Open();
  ASSERT_THAT(opened, IsOk());
  struct stat file = {};
  ASSERT_EQ(lstat(dir_.File("s").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 07777, 0660u);
}

}  // namespace
}  // namespace brood::server
