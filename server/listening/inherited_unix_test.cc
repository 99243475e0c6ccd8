// SPDX-License-Identifier: Apache-2.0

// Inherited unix sockets: which path each has (O9), and whether clients find it
// there (O10).

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/net/socket.h"
#include "brood/server/listening/inheritance_fixture.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::EventsOf;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class InheritedUnixTest : public InheritanceTest {
 protected:
  // Returns a socket that is bound to `name`, which may be relative to the
  // directory of this test.
  net::Listener ListenAtName(const std::string& name) {
    net::Socket socket =
        net::Socket::Adopt(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof(address.sun_path));
    const int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT_EQ(chdir(dir_.path().c_str()), 0);
    EXPECT_EQ(bind(socket.fd(), reinterpret_cast<sockaddr*>(&address),
                   sizeof(address)),
              0);
    EXPECT_EQ(fchdir(before), 0);
    close(before);
    EXPECT_EQ(listen(socket.fd(), 8), 0);
    return *net::Listener::Adopt(std::move(socket));
  }
  bool IsReachable() const {
    return TestClient::Connect(dir_.Socket("s")).ok();
  }

  const std::string path_ = dir_.File("s");
  const std::string entry_ = "unix:" + path_;
};

// O9. Tried: a link to the directory, to the file, a second name of the file,
// "//", "/./" and "..".
TEST_F(InheritedUnixTest, ServesTheEntryOfEveryPathOfItsFile) {
  const net::Listener holder = ListenAt(entry_);
  ASSERT_EQ(symlink(dir_.path().c_str(), dir_.File("var").c_str()), 0);
  ASSERT_EQ(symlink("s", dir_.File("link").c_str()), 0);
  ASSERT_EQ(link(path_.c_str(), dir_.File("hard").c_str()), 0);
  const std::string name = dir_.path().substr(dir_.path().rfind('/'));
  for (const std::string& path :
       {path_, dir_.File("var/s"), dir_.File("link"), dir_.File("hard"),
        dir_.File("/s"), dir_.File("./s"), dir_.File(".." + name + "/s"),
        dir_.File("var/link")}) {
    Inherit(holder);
    options_.listen = {"unix:" + path};
    ASSERT_THAT(Open(), IsOk()) << path;
    EXPECT_THAT(Opened(), ElementsAre(entry_)) << path;
    Upgrade();
    ASSERT_THAT(Open(), IsOk()) << path;
    EXPECT_THAT(Opened(), ElementsAre(entry_)) << path;
    EXPECT_THAT(EventsOf(log_, "inherited-listener-unused"), IsEmpty());
  }
  options_.listen = {"unix:" + dir_.File("other")};
  Inherit(holder);
  ASSERT_THAT(Open(), IsOk());
  EXPECT_EQ(Opened()[0], "unix:" + dir_.File("other") + " (bound)");
}

// An upgrade with another spelling of the path keeps the socket.
TEST_F(InheritedUnixTest, KeepsItsSocketWhenTheEntryIsSpelledDifferently) {
  options_.listen = {entry_};
  ASSERT_THAT(Open(), IsOk());
  ASSERT_EQ(symlink(dir_.path().c_str(), dir_.File("var").c_str()), 0);
  for (const char* spelling : {"var/s", "/s", "s"}) {
    Upgrade();
    options_.listen = {"unix:" + dir_.File(spelling)};
    ASSERT_THAT(Open(), IsOk());
    EXPECT_THAT(Opened(), ElementsAre(entry_)) << spelling;
  }
}

// O9: relative names, and names that are not printable.
TEST_F(InheritedUnixTest, IsServedWhateverNameItWasBoundTo) {
  const std::pair<std::string, std::string> kNames[] = {
      {"relative", "unix:relative"},
      {"./dot", "unix:./dot"},
      {"new\nline", "unix:new\\x0aline"},
      {dir_.File("a b"), absl::StrCat("unix:", dir_.File("a\\x20b"))},
  };
  for (const auto& [name, printed] : kNames) {
    const net::Listener holder = ListenAtName(name);
    Inherit(holder);
    options_.listen = {"inherited"};
    ASSERT_THAT(Open(), IsOk());
    EXPECT_THAT(Opened(), ElementsAre(printed));
    EXPECT_THAT(EventsOf(log_, "listener-unreachable"), IsEmpty());
    Upgrade();
    ASSERT_THAT(Open(), IsOk());
    EXPECT_THAT(Opened(), ElementsAre(printed));
  }
  // The entry has the path, which cannot be derived from a relative name.
  const net::Listener holder = ListenAtName("here");
  Inherit(holder);
  options_.listen = {"unix:" + dir_.File("here")};
  ASSERT_THAT(Open(), IsOk());
  EXPECT_THAT(Opened(), ElementsAre("unix:here"));
}

// O10. Tried: the file removed; removed with the directory that a link leads
// to; replaced by the file of a socket that is closed.
TEST_F(InheritedUnixTest, IsBoundAgainIfItIsOursAndItsFileIsGone) {
  for (const bool is_replaced : {false, true}) {
    options_.listen = {entry_};
    ASSERT_THAT(Open(), IsOk());
    const Listeners old = std::move(opened_);
    ASSERT_EQ(unlink(path_.c_str()), 0);
    if (is_replaced) ListenAtName(path_);
    EXPECT_FALSE(IsReachable());
    Inherit(old[0].socket, entry_, /*is_ours=*/true);
    ASSERT_THAT(Open(), IsOk());
    EXPECT_THAT(Opened(), ElementsAre(entry_ + " (bound)"));
    EXPECT_THAT(Logged("listener-rebound", "server.address"),
                ElementsAre(path_));
    EXPECT_TRUE(IsReachable());
    opened_.clear();
    unlink(path_.c_str());
  }
}

// A path that cannot be bound is an error, as without an inherited socket, and
// the program before goes on. No file is removed.
TEST_F(InheritedUnixTest, IsAnErrorIfItCanNotBeBoundAgain) {
  options_.listen = {entry_};
  ASSERT_THAT(Open(), IsOk());
  const Listeners old = std::move(opened_);
  unlink(path_.c_str());
  {
    const net::Listener other = ListenAtName(path_);
    Inherit(old[0].socket, entry_, /*is_ours=*/true);
    EXPECT_THAT(Open(), StatusIs(absl::ErrnoToStatusCode(EADDRINUSE),
                                 HasSubstr("bind " + entry_)));
    EXPECT_TRUE(IsReachable()) << "the socket of the other server";
  }
  unlink(path_.c_str());
  std::ofstream(path_) << "text";
  Inherit(old[0].socket, entry_, /*is_ours=*/true);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kAlreadyExists,
                               HasSubstr("is not removed")));
  EXPECT_EQ(access(path_.c_str(), F_OK), 0);
}

// O10: the socket of a service manager, whose file may be in another mount
// namespace.
TEST_F(InheritedUnixTest, IsServedWithAWarningIfItIsAnothersAndItsFileIsGone) {
  const net::Listener holder = ListenAt(entry_);
  const std::string fd_entry = "fd:";
  for (const bool is_replaced : {false, true}) {
    unlink(path_.c_str());
    if (is_replaced) std::ofstream(path_) << "text";
    for (const std::string& entry :
         {std::string("inherited"), entry_, fd_entry}) {
      Inherit(holder);
      options_.listen = {entry == fd_entry
                             ? absl::StrCat(entry, inherited_[0].socket.fd())
                             : entry};
      ASSERT_THAT(Open(), IsOk());
      EXPECT_THAT(Opened(), ElementsAre(entry_));
      EXPECT_THAT(Logged("listener-unreachable", "error.message"),
                  ElementsAre(HasSubstr(is_replaced ? "replaced" : "removed")));
      Upgrade();
      ASSERT_THAT(Open(), IsOk());
      EXPECT_THAT(Opened(), ElementsAre(entry_));
      EXPECT_EQ(EventsOf(log_, "listener-unreachable").size(), 1u)
          << "by each program";
    }
  }
}

TEST_F(InheritedUnixTest, IsServedSilentlyWhereClientsFindIt) {
  const std::string abstract = absl::StrCat("unix:@brood.", getpid());
  const net::Listener file = ListenAt(entry_), no_file = ListenAt(abstract);
  for (const bool is_ours : {true, false}) {
    Inherit(file, entry_, is_ours);
    Inherit(no_file, abstract, is_ours);
    options_.listen = {entry_, abstract};
    ASSERT_THAT(Open(), IsOk());
    EXPECT_THAT(Opened(), ElementsAre(entry_, abstract));
    EXPECT_EQ(log_, "");
  }
}

// O17: a start that fails leaves no new file behind; a file that existed before
// stays.
TEST_F(InheritedUnixTest, LeavesNoFileWhenTheStartFails) {
  const net::Listener other = ListenAt("127.0.0.1:0");
  options_.listen = {entry_, other.endpoint().ToString()};
  EXPECT_THAT(Open(), StatusIs(absl::ErrnoToStatusCode(EADDRINUSE)));
  EXPECT_EQ(access(path_.c_str(), F_OK), -1);
  const net::Listener holder = ListenAt(entry_);
  Inherit(holder, entry_, /*is_ours=*/true);
  EXPECT_THAT(Open(), StatusIs(absl::ErrnoToStatusCode(EADDRINUSE)));
  EXPECT_TRUE(IsReachable());
}

}  // namespace
}  // namespace brood::server
