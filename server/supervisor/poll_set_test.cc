// SPDX-License-Identifier: Apache-2.0

#include "brood/server/supervisor/poll_set.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

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
      poll_.Set(poll_.Add(), source.fd());
    }
  }

  void Ring(size_t source) const { eventfd_write(sources_[source].fd(), 1); }
  // Polls once, without waiting.
  int Look() { return poll_.Wait(net::Now(), net::Now()); }

  std::array<net::Socket, 3> sources_;
  PollSet poll_;
};

TEST_F(PollSetTest, ReportsWhichSourcesAreReadable) {
  EXPECT_EQ(Look(), 0);
  EXPECT_TRUE(poll_.timed_out());
  Ring(1);
  EXPECT_EQ(poll_.Wait(net::Now(), net::Never()), 0);
  EXPECT_FALSE(poll_.timed_out());
  EXPECT_FALSE(poll_.IsReadable(0));
  EXPECT_TRUE(poll_.IsReadable(1));
  EXPECT_FALSE(poll_.IsReadable(2));
}

TEST_F(PollSetTest, WaitsUntilTheGivenTime) {
  const net::Instant alarm = net::After(net::Now(), absl::Milliseconds(5));
  EXPECT_EQ(poll_.Wait(net::Now(), alarm), 0);
  EXPECT_GE(net::Now(), alarm);
  EXPECT_TRUE(poll_.timed_out());
}

TEST_F(PollSetTest, WaitsUntilTheEarliestAlarmOfAnySource) {
  const net::Instant now = net::Now();
  const net::Instant soon = net::After(now, absl::Milliseconds(5));
  poll_.Set(0, sources_[0].fd(), net::After(now, absl::Hours(1)));
  poll_.Set(2, -1, soon);
  EXPECT_EQ(poll_.Wait(now, net::Never()), 0);
  EXPECT_GE(net::Now(), soon);
  EXPECT_TRUE(poll_.timed_out());
  EXPECT_FALSE(poll_.Due(0, soon));
  EXPECT_FALSE(poll_.Due(1, soon)) << "it has no alarm";
  EXPECT_TRUE(poll_.Due(2, soon));
  EXPECT_FALSE(poll_.Due(2, now)) << "not before its time";
}

TEST_F(PollSetTest, TreatsAReadableSourceAsDueBeforeItsAlarm) {
  poll_.Set(1, sources_[1].fd(), net::Never());
  Ring(1);
  EXPECT_EQ(Look(), 0);
  EXPECT_TRUE(poll_.Due(1, net::Now()));
}

// The kernel refuses to poll more descriptors than a process may have, even if
// some are -1.
TEST_F(PollSetTest, DoesNotCountMaskedSourcesAsDescriptors) {
  for (int i = 0; i < 100; ++i) poll_.Add();
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few = {sources_.size() + 10, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  EXPECT_EQ(Look(), 0);
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST_F(PollSetTest, PollsNothingForAMaskedSource) {
  Ring(1);
  poll_.Set(1, -1);
  EXPECT_TRUE(poll_.IsMasked(1));
  EXPECT_EQ(Look(), 0);
  EXPECT_FALSE(poll_.IsReadable(1));
  poll_.Set(1, sources_[1].fd());
  EXPECT_FALSE(poll_.IsMasked(1));
  EXPECT_EQ(Look(), 0);
  EXPECT_TRUE(poll_.IsReadable(1));
}

TEST_F(PollSetTest, ReportsNothingForAForgottenSource) {
  Ring(1);
  EXPECT_EQ(Look(), 0);
  poll_.Forget(1, sources_[1].fd());
  EXPECT_FALSE(poll_.IsReadable(1));
  EXPECT_TRUE(poll_.IsMasked(1));
  EXPECT_EQ(Look(), 0);
  EXPECT_TRUE(poll_.timed_out());
}

TEST_F(PollSetTest, ReportsNothingWhenASignalInterruptsTheWait) {
  Ring(1);
  EXPECT_EQ(Look(), 0);
  poll_.Set(1, -1);
  struct sigaction handler = {}, before;
  handler.sa_handler = [](int) {};
  sigaction(SIGALRM, &handler, &before);
  // Repeated, because the first signal may come before the wait.
  const itimerval often = {{0, 1000}, {0, 1000}}, never = {};
  setitimer(ITIMER_REAL, &often, nullptr);
  EXPECT_EQ(poll_.Wait(net::Now(), net::Never()), 0);
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  for (size_t place = 0; place < sources_.size(); ++place) {
    EXPECT_FALSE(poll_.IsReadable(place)) << place;
  }
}

TEST_F(PollSetTest, ReportsEverySourceWhenTheKernelCannotLook) {
  poll_.Set(0, -1);
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit fewer_than_polled = {sources_.size() - 2, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &fewer_than_polled);
  EXPECT_EQ(Look(), EINVAL);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_FALSE(poll_.IsReadable(0)) << "it is masked";
  EXPECT_TRUE(poll_.IsReadable(1));
  EXPECT_TRUE(poll_.IsReadable(2));
}

TEST_F(PollSetTest, HasADescriptorThatIsReadableWhenItsWaitWouldEnd) {
  EXPECT_FALSE(poll_.has_fd());
  ASSERT_THAT(poll_.Fd(), IsOk());
  EXPECT_TRUE(poll_.has_fd());
  pollfd ready = {*poll_.Fd(), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  Ring(1);
  EXPECT_EQ(poll(&ready, 1, 0), 1);
  poll_.Forget(1, sources_[1].fd());
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  poll_.Set(0, -1, net::Now());
  poll_.Publish();
  EXPECT_EQ(poll(&ready, 1, 10000), 1);
}

// A descriptor stays readable, in error or hung up: for a second, each turn
// finds it and has nothing to do.
TEST_F(PollSetTest, PausesASourceThatIsNeverOfUse) {
  Ring(1);
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  close(pipe_fds[1]);  // hung up for good
  poll_.Set(2, pipe_fds[0]);
  net::Instant now = net::Now();
  const net::Instant end = net::After(now, absl::Seconds(1));
  int wakes = 0, pauses = 0;
  while (now < end) {
    EXPECT_EQ(poll_.Wait(now, now), 0);
    const bool woke = poll_.IsReadable(1) || poll_.IsReadable(2);
    wakes += woke ? 1 : 0;
    pauses += poll_.paused().has_value() ? 1 : 0;
    now = net::After(now, absl::Microseconds(woke ? 20 : 1000));
  }
  EXPECT_LE(wakes, 20 * 2 * (PollSet::kMostUnused + 1));
  EXPECT_GE(pauses, 10);
  close(pipe_fds[0]);
}

TEST_F(PollSetTest, GoesOnPollingASourceThatIsOfUse) {
  Ring(1);
  const net::Instant now = net::Now();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(poll_.Wait(now, now), 0);
    ASSERT_TRUE(poll_.IsReadable(1)) << i;
    poll_.Used(1);
  }
}

// Two programs that share a listener take connections from one another.
TEST_F(PollSetTest, GoesOnPollingASourceThatIsSeldomOfNoUse) {
  Ring(1);
  net::Instant now = net::Now();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(poll_.Wait(now, now), 0);
    ASSERT_TRUE(poll_.IsReadable(1)) << i;
    now = net::After(now, absl::Milliseconds(1));
  }
}

TEST_F(PollSetTest, WakesForOtherSourcesWhileOneIsPausedAndWhenItsPauseEnds) {
  Ring(1);
  const net::Instant now = net::Now();
  while (!poll_.paused()) EXPECT_EQ(poll_.Wait(now, now), 0);
  EXPECT_EQ(poll_.paused(), 1u);
  ASSERT_THAT(poll_.Fd(), IsOk());
  pollfd ready = {*poll_.Fd(), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  Ring(0);
  EXPECT_EQ(poll_.Wait(now, net::Never()), 0);
  EXPECT_TRUE(poll_.IsReadable(0));
  EXPECT_FALSE(poll_.IsReadable(1));
  EXPECT_FALSE(poll_.paused());
  poll_.Set(0, -1);
  EXPECT_EQ(poll_.Wait(now, net::Never()), 0) << "its time comes";
  poll_.Publish();
  EXPECT_EQ(poll(&ready, 1, 10000), 1);
  EXPECT_EQ(poll_.Wait(net::After(now, PollSet::kPeriod), net::Never()), 0);
  EXPECT_TRUE(poll_.IsReadable(1));
}

}  // namespace
}  // namespace brood::server
