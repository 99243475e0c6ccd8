// SPDX-License-Identifier: Apache-2.0

// O7: an inherited listener gets the settings of the program that inherits it,
// in both directions. An option that cannot be applied is logged.
//
// Tried: the length of the queue, the mode of the file and the timeout of
// peers, each up, down and back to the default; on TCP over IPv4 and IPv6, unix
// sockets with a file and without; found by a link; a file of another socket; a
// kernel that does not answer; listeners of a service manager.

#include "brood/server/listening/configure_listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/listener.h"
#include "brood/server/listening/inheritance_fixture.h"
#include "brood/server/listening/listener_set.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::EventsOf;
using ::brood::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ConfigureListenerTest : public InheritanceTest {
 protected:
  mode_t Mode() const {
    struct stat file = {};
    EXPECT_EQ(stat(path_.c_str(), &file), 0);
    return file.st_mode & 07777;
  }
  static int TcpOption(const net::Listener& listener, int option) {
    int value = -1;
    socklen_t length = sizeof(value);
    EXPECT_EQ(getsockopt(listener.fd(), IPPROTO_TCP, option, &value, &length),
              0);
    return value;
  }
  // Returns the timeouts of peers, in the order of SetPeerTimeout().
  static std::vector<int> Timeouts(const net::Listener& listener) {
    return {TcpOption(listener, TCP_KEEPIDLE),
            TcpOption(listener, TCP_KEEPINTVL),
            TcpOption(listener, TCP_KEEPCNT),
            TcpOption(listener, TCP_USER_TIMEOUT)};
  }
  std::vector<std::string> NotApplied() const {
    return Logged("option-not-applied", "brood.option");
  }

  const std::string path_ = dir_.File("s");
  const std::string entry_ = "unix:" + path_;
};

TEST_F(ConfigureListenerTest, HasTheQueueOfEachProgramThatInheritsIt) {
  options_.listen = {"127.0.0.1:0", "[::1]:0", entry_,
                     absl::StrCat("unix:@brood.", getpid())};
  options_.backlog = 7;
  ASSERT_THAT(Open(), IsOk());
  const int longest =
      *net::Listener::Listen(*net::Endpoint::Parse(":0"), 0)->backlog();
  for (const int backlog : {100, 3, 0, 1, 4096}) {
    options_.backlog = backlog;
    Upgrade();
    ASSERT_THAT(Open(), IsOk());
    for (const OpenedListener& each : opened_) {
      EXPECT_FALSE(each.is_new);
      EXPECT_EQ(each.socket.backlog(), backlog == 0 ? longest : backlog)
          << each.socket.endpoint().ToString();
    }
    EXPECT_EQ(log_, "");
  }
}

TEST_F(ConfigureListenerTest, HasTheFileModeOfEachProgramThatInheritsIt) {
  ASSERT_EQ(symlink("s", dir_.File("link").c_str()), 0);
  options_.listen = {entry_};
  ASSERT_THAT(Open(), IsOk());
  EXPECT_EQ(Mode(), 0600u);
  for (const int mode : {0660, 0666, 0600, 0000, 0777, 0600}) {
    options_.unix_mode = mode;
    options_.listen = {mode == 0666 ? "unix:" + dir_.File("link") : entry_};
    Upgrade();
    ASSERT_THAT(Open(), IsOk());
    EXPECT_EQ(Mode(), static_cast<mode_t>(mode));
    EXPECT_EQ(log_, "");
  }
}

TEST_F(ConfigureListenerTest, HasTheTimeoutOfEachProgramThatInheritsIt) {
  options_.listen = {"127.0.0.1:0", "[::1]:0", entry_};
  ASSERT_THAT(Open(), IsOk());
  const std::vector<int> defaults = Timeouts(opened_[0].socket);
  EXPECT_EQ(defaults.back(), 0);
  for (const int seconds : {9, 30, 0, 3, 0}) {
    options_.deadlines.peer = absl::Seconds(seconds);
    Upgrade();
    ASSERT_THAT(Open(), IsOk());
    for (int i = 0; i < 2; ++i) {
      const std::vector<int> timeouts = Timeouts(opened_[i].socket);
      if (seconds == 0) {
        EXPECT_EQ(timeouts, defaults);
      } else {
        EXPECT_EQ(timeouts[0], seconds / 3);
        EXPECT_EQ(timeouts[3], seconds * 1000);
      }
    }
    EXPECT_EQ(log_, "");
  }
}

// The service manager decides about the queue and the file, and it may have set
// keepalive. A timeout that this server has set before is removed.
TEST_F(ConfigureListenerTest, IsLeftToTheServiceManagerThatOpenedIt) {
  const net::Listener tcp = ListenAt("127.0.0.1:0"),
                      unix_file = ListenAt(entry_);
  const int on = 1, idle = 77;
  setsockopt(tcp.fd(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(tcp.fd(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  options_.listen = {"inherited"};
  const auto open_again = [&] {
    Inherit(tcp);
    Inherit(unix_file);
    ASSERT_THAT(Open(), IsOk());
    EXPECT_EQ(tcp.backlog(), 8);
    EXPECT_EQ(unix_file.backlog(), 8);
    EXPECT_EQ(Mode(), 0666u);
  };
  open_again();
  EXPECT_EQ(log_, "") << "the defaults may not have been asked for";
  EXPECT_EQ(TcpOption(tcp, TCP_KEEPIDLE), idle);
  options_.backlog = 8;
  options_.unix_mode = 0666;
  open_again();
  EXPECT_EQ(log_, "") << "it is as asked for";
  options_.backlog = 9;
  options_.unix_mode = 0660;
  open_again();
  EXPECT_THAT(NotApplied(), ElementsAre("backlog", "backlog", "unix_mode"));
  EXPECT_THAT(Logged("option-not-applied", "error.message")[2],
              HasSubstr("has the mode 0666"));
  Upgrade();
  ASSERT_THAT(Open(), IsOk());
  EXPECT_EQ(NotApplied().size(), 3u) << "by each program";
  options_.deadlines.peer = absl::Seconds(9);
  open_again();
  EXPECT_EQ(TcpOption(tcp, TCP_USER_TIMEOUT), 9000);
  options_.deadlines.peer = absl::ZeroDuration();
  open_again();
  EXPECT_EQ(TcpOption(tcp, TCP_USER_TIMEOUT), 0);
}

// The kernel does not answer sock_diag in a unit with RestrictAddressFamilies.
TEST_F(ConfigureListenerTest, NamesTheModeIfItsFileIsUnknown) {
  options_.listen = {entry_};
  ASSERT_THAT(Open(), IsOk());
  Upgrade();
  options_.unix_mode = 0660;
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    ::brood::testing::RefuseCalls({SYS_socket}, EAFNOSUPPORT);
    EXPECT_THAT(Open(), IsOk());
    EXPECT_THAT(Opened(), ElementsAre(entry_)) << "it is served";
    EXPECT_THAT(NotApplied(), ElementsAre("unix_mode"));
    EXPECT_EQ(Mode(), 0600u);
    options_.unix_mode = 0600;
    Upgrade();
    EXPECT_THAT(Open(), IsOk());
    EXPECT_EQ(log_, "") << "there is nothing to change";
    std::fflush(nullptr);
    _exit(HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << "see above";
}

// A new program that fails has changed the listeners that the old one still
// serves.
TEST_F(ConfigureListenerTest,
       HasTheSettingsOfTheOldProgramAfterAFailedUpgrade) {
  options_.listen = {"127.0.0.1:0", entry_};
  options_.backlog = 5;
  ASSERT_THAT(Open(), IsOk());
  const ListenerSettings settings(options_);
  ListenerSet old(std::move(opened_));
  for (size_t i = 0; i < old.size(); ++i) {
    const int fd = fcntl(old.fd(i), F_DUPFD_CLOEXEC, 0);
    inherited_.push_back({net::Socket::Adopt(fd), options_.listen[i], true});
  }
  options_.backlog = 50;
  options_.unix_mode = 0666;
  options_.deadlines.peer = absl::Seconds(9);
  ASSERT_THAT(Open(), IsOk());
  EXPECT_EQ(opened_[1].socket.backlog(), 50);
  {
    EventLog log(LogLevel::kOff);
    old.Configure(settings, &log);
  }
  EXPECT_EQ(opened_[0].socket.backlog(), 5);
  EXPECT_EQ(opened_[1].socket.backlog(), 5);
  EXPECT_EQ(Mode(), 0600u);
  EXPECT_EQ(TcpOption(opened_[0].socket, TCP_USER_TIMEOUT), 0);
}

}  // namespace
}  // namespace brood::server
