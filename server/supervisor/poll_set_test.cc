#include "brood/server/supervisor/poll_set.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;

class PollSetTest : public ::brood::testing::LeakCheck {
 protected:
  PollSetTest() {
    for (net::Socket& source : sources_) {
      source = net::Socket::Adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      poll_.Add(source.fd());
    }
  }

  void Ring(size_t source) const { eventfd_write(sources_[source].fd(), 1); }
  // What there is now.
  int Look() { return poll_.Await(net::Now(), net::Now()); }

  std::array<net::Socket, 3> sources_;
  PollSet poll_;
};

TEST_F(PollSetTest, TellsWhatCameAndWhatDidNot) {
  EXPECT_EQ(Look(), 0);
  EXPECT_TRUE(poll_.quiet());
  Ring(1);
  EXPECT_EQ(poll_.Await(net::Now(), net::Never()), 0);
  EXPECT_FALSE(poll_.quiet());
  EXPECT_FALSE(poll_.Came(0));
  EXPECT_TRUE(poll_.Came(1));
  EXPECT_FALSE(poll_.Came(2));
}

TEST_F(PollSetTest, WaitsUntilTheAlarm) {
  const net::Instant alarm = net::After(net::Now(), absl::Milliseconds(5));
  EXPECT_EQ(poll_.Await(net::Now(), alarm), 0);
  EXPECT_GE(net::Now(), alarm);
  EXPECT_TRUE(poll_.quiet());
}

TEST_F(PollSetTest, LeavesOutAPlaceThatIsForNoneJustNow) {
  Ring(1);
  poll_.Set(1, -1);
  EXPECT_TRUE(poll_.LeftOut(1));
  EXPECT_EQ(Look(), 0);
  EXPECT_FALSE(poll_.Came(1));
  poll_.Set(1, sources_[1].fd());
  EXPECT_FALSE(poll_.LeftOut(1));
  EXPECT_EQ(Look(), 0);
  EXPECT_TRUE(poll_.Came(1));
}

TEST_F(PollSetTest, KnowsNothingMoreOfWhatItForgot) {
  Ring(1);
  EXPECT_EQ(Look(), 0);
  poll_.Forget(1, sources_[1].fd());
  EXPECT_FALSE(poll_.Came(1));
  EXPECT_TRUE(poll_.LeftOut(1));
  EXPECT_EQ(Look(), 0);
  EXPECT_TRUE(poll_.quiet());
}

TEST_F(PollSetTest, NothingCameWhenASignalInterruptsTheWait) {
  Ring(1);
  EXPECT_EQ(Look(), 0);
  poll_.Set(1, -1);
  struct sigaction handler = {}, before;
  handler.sa_handler = [](int) {};
  sigaction(SIGALRM, &handler, &before);
  // Again and again, for the first could come before the wait.
  const itimerval often = {{0, 1000}, {0, 1000}}, never = {};
  setitimer(ITIMER_REAL, &often, nullptr);
  EXPECT_EQ(poll_.Await(net::Now(), net::Never()), 0);
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  for (size_t place = 0; place < sources_.size(); ++place) {
    EXPECT_FALSE(poll_.Came(place)) << place;
  }
}

TEST_F(PollSetTest, AnythingMayHaveComeWhenTheKernelCannotLook) {
  poll_.Set(0, -1);
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit fewer_than_polled = {sources_.size() - 1, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &fewer_than_polled);
  EXPECT_EQ(Look(), EINVAL);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_FALSE(poll_.Came(0)) << "it is left out";
  EXPECT_TRUE(poll_.Came(1));
  EXPECT_TRUE(poll_.Came(2));
}

TEST_F(PollSetTest, HasADescriptorThatIsReadableWhenItsWaitWouldEnd) {
  EXPECT_FALSE(poll_.has_fd());
  ASSERT_THAT(poll_.Fd(net::Never()), IsOk());
  EXPECT_TRUE(poll_.has_fd());
  pollfd ready = {*poll_.Fd(net::Never()), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  Ring(1);
  EXPECT_EQ(poll(&ready, 1, 0), 1);
  poll_.Forget(1, sources_[1].fd());
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  poll_.Announce(net::Now());
  EXPECT_EQ(poll(&ready, 1, 10000), 1);
}

}  // namespace
}  // namespace brood::server
