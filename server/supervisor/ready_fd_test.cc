// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/ready_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <vector>

#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/proc/private_fds.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

class ReadyFdTest : public ::brood::testing::LeakCheck {
 protected:
  ReadyFdTest() : ready_(*ReadyFd::Create()) {
    for (net::Socket& source : sources_) {
      source = net::Socket::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      polled_.push_back({source.fd(), POLLIN, 0});
    }
  }

  void Ring(size_t source) const { eventfd_write(sources_[source].fd(), 1); }
  void Silence(size_t source) const {
    eventfd_t count;
    eventfd_read(sources_[source].fd(), &count);
  }
  bool IsReady(int timeout_ms = 0) const {
    pollfd polled = {ready_.fd(), POLLIN, 0};
    return poll(&polled, 1, timeout_ms) == 1;
  }

  ReadyFd ready_;
  std::array<net::Socket, 3> sources_;
  std::vector<pollfd> polled_;
};

TEST_F(ReadyFdTest, IsNotReadableBeforeItWatchesAnything) {
  Ring(0);
  EXPECT_FALSE(IsReady());
}

TEST_F(ReadyFdTest, IsReadableWhileAnyOfItsSourcesIs) {
  ready_.Watch(polled_, net::Never());
  EXPECT_FALSE(IsReady());
  for (size_t source = 0; source < sources_.size(); ++source) {
    Ring(source);
    EXPECT_TRUE(IsReady());
    EXPECT_TRUE(IsReady()) << "it stays so until the source is read";
    Silence(source);
    EXPECT_FALSE(IsReady());
  }
}

TEST_F(ReadyFdTest, IgnoresASourceThatIsNotPolledNow) {
  ready_.Watch(polled_, net::Never());
  Ring(1);
  polled_[1].fd = -1;
  ready_.Watch(polled_, net::Never());
  EXPECT_FALSE(IsReady());
  polled_[1].fd = sources_[1].fd();
  ready_.Watch(polled_, net::Never());
  EXPECT_TRUE(IsReady());
}

TEST_F(ReadyFdTest, WatchesADescriptorThatReplacedAnother) {
  polled_.resize(1);
  ready_.Watch(polled_, net::Never());
  polled_[0].fd = sources_[2].fd();
  ready_.Watch(polled_, net::Never());
  Ring(0);
  EXPECT_FALSE(IsReady());
  Ring(2);
  EXPECT_TRUE(IsReady());
}

TEST_F(ReadyFdTest, WatchesADescriptorThatReplacedOneThatWasClosed) {
  polled_.resize(1);
  ready_.Watch(polled_, net::Never());
  sources_[0].Close();
  polled_[0].fd = sources_[2].fd();
  ready_.Watch(polled_, net::Never());
  Ring(2);
  EXPECT_TRUE(IsReady());
}

TEST_F(ReadyFdTest, IsReadableOnceTheAlarmHasPassed) {
  const net::Instant now = net::Now();
  ready_.Watch(polled_, net::After(now, absl::Hours(1)));
  EXPECT_FALSE(IsReady());
  ready_.Watch(polled_, net::After(now, absl::Milliseconds(5)));
  EXPECT_TRUE(IsReady(10000));
  EXPECT_GE(net::Now(), net::After(now, absl::Milliseconds(5)));
  EXPECT_TRUE(IsReady()) << "until another alarm is set";
  ready_.Watch(polled_, net::Never());
  EXPECT_FALSE(IsReady());
}

TEST_F(ReadyFdTest, IsReadableAtOnceForAnAlarmInThePast) {
  for (const net::Instant past :
       {net::Instant::min(), net::Instant(), net::Now()}) {
    ready_.Watch(polled_, past);
    EXPECT_TRUE(IsReady(10000));
    ready_.Watch(polled_, net::Never());
    EXPECT_FALSE(IsReady());
  }
}

TEST_F(ReadyFdTest, IsNotReadableForAForgottenSource) {
  ready_.Watch(polled_, net::Never());
  Ring(1);
  ready_.Forget(sources_[1].fd());
  EXPECT_FALSE(IsReady());
  Ring(0);
  EXPECT_TRUE(IsReady());
  ready_.Forget(4711);  // a descriptor that it does not watch
}

// Another file gets the same number.
TEST_F(ReadyFdTest, WatchesADescriptorThatHasTheNumberOfOneForgotten) {
  ready_.Watch(polled_, net::Never());
  const int number = sources_[1].fd();
  ready_.Forget(number);
  sources_[1].Close();
  sources_[1] = net::Socket::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  ASSERT_EQ(sources_[1].fd(), number);
  ready_.Watch(polled_, net::Never());
  Ring(1);
  EXPECT_TRUE(IsReady());
}

// The kernel watches a source as long as any process has it open.
TEST_F(ReadyFdTest, IsNotReadableForASourceThatAChildKeepsOpen) {
  ready_.Watch(polled_, net::Never());
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  Ring(1);
  ready_.Forget(sources_[1].fd());
  sources_[1].Close();
  polled_[1].fd = -1;
  ready_.Watch(polled_, net::Never());
  EXPECT_FALSE(IsReady());
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_F(ReadyFdTest, IsClosedInChildren) {
  const int fd = ready_.fd();
  const pid_t child = fork();
  if (child == 0) {
    proc::ClosePrivateFds({});
    _exit(fcntl(fd, F_GETFD) < 0 ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace brood::server
