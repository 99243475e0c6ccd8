#include "brood/server/control/request_signals.h"

#include <poll.h>

#include <csignal>
#include <utility>

#include "absl/status/statusor.h"
#include "brood/server/control/requests.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;

bool Readable(int fd) {
  pollfd polled = {fd, POLLIN, 0};
  return poll(&polled, 1, 0) == 1;
}

bool IsBlocked(int signal) {
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, nullptr, &blocked);
  return sigismember(&blocked, signal) == 1;
}

// The census includes the mask of signals.
class RequestSignalsTest : public ::brood::testing::LeakCheck {
 protected:
  absl::StatusOr<Requests> one_ = Requests::Create();
  absl::StatusOr<Requests> other_ = Requests::Create();
};

TEST_F(RequestSignalsTest, HasNothingWhileNoSignalComes) {
  auto signals = RequestSignals::Join(&*one_);
  ASSERT_THAT(signals, IsOk());
  EXPECT_FALSE(Readable(signals->fd()));
  signals->Forward();
  EXPECT_EQ(one_->Take().drains, 0);
}

TEST_F(RequestSignalsTest, TellsEveryServerOfOneSignalWhicheverFindsIt) {
  auto first = RequestSignals::Join(&*one_);
  auto second = RequestSignals::Join(&*other_);
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  for (RequestSignals* finder : {&*first, &*second}) {
    for (int signal : {SIGTERM, SIGINT}) {
      raise(signal);
      EXPECT_TRUE(Readable(first->fd()));
      EXPECT_TRUE(Readable(second->fd()));
      finder->Forward();
      EXPECT_EQ(one_->Take().drains, 1);
      EXPECT_EQ(other_->Take().drains, 1);
      EXPECT_FALSE(Readable(first->fd()));
    }
  }
}

TEST_F(RequestSignalsTest, CountsTwoSignalsTwice) {
  auto first = RequestSignals::Join(&*one_);
  auto second = RequestSignals::Join(&*other_);
  raise(SIGTERM);
  raise(SIGINT);
  second->Forward();
  EXPECT_EQ(one_->Take().drains, 2);
  EXPECT_EQ(other_->Take().drains, 2);
  raise(SIGTERM);
  first->Forward();
  raise(SIGTERM);
  first->Forward();
  EXPECT_EQ(one_->Take().drains, 2);
}

TEST_F(RequestSignalsTest, TellsEveryServerToUpgradeBySighupAndSigusr2) {
  auto first = RequestSignals::Join(&*one_);
  auto second = RequestSignals::Join(&*other_);
  for (int signal : {SIGHUP, SIGUSR2}) {
    raise(signal);
    raise(SIGTERM);
    first->Forward();
    for (const Requests* requests : {&*one_, &*other_}) {
      const Requests::Taken taken = requests->Take();
      EXPECT_TRUE(taken.upgrade);
      EXPECT_EQ(taken.drains, 1);
    }
  }
}

TEST_F(RequestSignalsTest, GivesTheSignalsBackWhenTheLastServerLeaves) {
  ASSERT_FALSE(IsBlocked(SIGTERM));
  absl::optional<RequestSignals> first = *RequestSignals::Join(&*one_);
  absl::optional<RequestSignals> second = *RequestSignals::Join(&*other_);
  const int fd = first->fd();
  first.reset();
  EXPECT_TRUE(IsBlocked(SIGTERM));
  raise(SIGTERM);
  second->Forward();
  EXPECT_EQ(one_->Take().drains, 0) << "it has left";
  EXPECT_EQ(other_->Take().drains, 1);
  EXPECT_EQ(second->fd(), fd);
  second.reset();
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR2}) {
    EXPECT_FALSE(IsBlocked(signal));
  }
}

TEST_F(RequestSignalsTest, CanBeJoinedAgainAfterTheLastServerHasLeft) {
  for (int round = 0; round < 3; ++round) {
    auto signals = RequestSignals::Join(&*one_);
    ASSERT_THAT(signals, IsOk());
    raise(SIGTERM);
    signals->Forward();
    EXPECT_EQ(one_->Take().drains, 1);
  }
}

TEST_F(RequestSignalsTest, BlocksForGoodWhatComesBeforeAndAfterTheServer) {
  sigset_t before;
  sigprocmask(SIG_BLOCK, nullptr, &before);
  RequestSignals::BlockForGood();
  raise(SIGTERM);
  {
    auto signals = RequestSignals::Join(&*one_);
    ASSERT_THAT(signals, IsOk());
    signals->Forward();
    EXPECT_EQ(one_->Take().drains, 1) << "it waited";
  }
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR2}) {
    EXPECT_TRUE(IsBlocked(signal));
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(RequestSignalsTest, StaysJoinedWhenItIsMoved) {
  auto signals = RequestSignals::Join(&*one_);
  { const RequestSignals moved = *std::move(signals); }
  EXPECT_FALSE(IsBlocked(SIGTERM));
}

}  // namespace
}  // namespace brood::server
