#include "brood/server/stop_signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <utility>

#include "absl/types/optional.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;

// A server's drain request.
class Request {
 public:
  Request() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  Request(const Request&) = delete;
  ~Request() { close(fd_); }
  int fd() const { return fd_; }
  // How often it was rung since the last time.
  eventfd_t Take() {
    eventfd_t count = 0;
    eventfd_read(fd_, &count);
    return count;
  }

 private:
  const int fd_;
};

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
class StopSignalsTest : public ::brood::testing::LeakCheck {
 protected:
  Request one_, other_;
};

TEST_F(StopSignalsTest, HasNothingWhileNoSignalComes) {
  auto signals = StopSignals::Join(one_.fd());
  ASSERT_THAT(signals, IsOk());
  EXPECT_FALSE(Readable(signals->fd()));
  EXPECT_FALSE(signals->TryTake());
  EXPECT_EQ(one_.Take(), 0u);
}

TEST_F(StopSignalsTest, TellsEveryServerOfOneSignalWhicheverFindsIt) {
  auto first = StopSignals::Join(one_.fd());
  auto second = StopSignals::Join(other_.fd());
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  for (StopSignals* finder : {&*first, &*second}) {
    for (int signal : {SIGTERM, SIGINT}) {
      raise(signal);
      EXPECT_TRUE(Readable(first->fd()));
      EXPECT_TRUE(Readable(second->fd()));
      EXPECT_FALSE(finder->TryTake());
      EXPECT_EQ(one_.Take(), 1u);
      EXPECT_EQ(other_.Take(), 1u);
      EXPECT_FALSE(Readable(first->fd()));
    }
  }
}

TEST_F(StopSignalsTest, CountsTwoSignalsTwice) {
  auto first = StopSignals::Join(one_.fd());
  auto second = StopSignals::Join(other_.fd());
  raise(SIGTERM);
  raise(SIGINT);
  EXPECT_FALSE(second->TryTake());
  EXPECT_EQ(one_.Take(), 2u);
  EXPECT_EQ(other_.Take(), 2u);
  raise(SIGTERM);
  EXPECT_FALSE(first->TryTake());
  raise(SIGTERM);
  EXPECT_FALSE(first->TryTake());
  EXPECT_EQ(one_.Take(), 2u);
}

TEST_F(StopSignalsTest, GivesOutTheOthersAndRingsForThoseBetween) {
  auto signals = StopSignals::Join(one_.fd());
  raise(SIGUSR2);
  raise(SIGTERM);
  raise(SIGHUP);
  std::set<int> others;
  while (const absl::optional<int> other = signals->TryTake()) {
    others.insert(*other);
  }
  EXPECT_EQ(others, std::set<int>({SIGHUP, SIGUSR2}));
  EXPECT_EQ(one_.Take(), 1u);
}

TEST_F(StopSignalsTest, GivesTheSignalsBackWhenTheLastServerLeaves) {
  ASSERT_FALSE(IsBlocked(SIGTERM));
  absl::optional<StopSignals> first = *StopSignals::Join(one_.fd());
  absl::optional<StopSignals> second = *StopSignals::Join(other_.fd());
  const int fd = first->fd();
  first.reset();
  EXPECT_TRUE(IsBlocked(SIGTERM));
  raise(SIGTERM);
  EXPECT_FALSE(second->TryTake());
  EXPECT_EQ(one_.Take(), 0u) << "it has left";
  EXPECT_EQ(other_.Take(), 1u);
  EXPECT_EQ(second->fd(), fd);
  second.reset();
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR2}) {
    EXPECT_FALSE(IsBlocked(signal));
  }
}

TEST_F(StopSignalsTest, CanBeJoinedAgainAfterTheLastServerHasLeft) {
  for (int round = 0; round < 3; ++round) {
    auto signals = StopSignals::Join(one_.fd());
    ASSERT_THAT(signals, IsOk());
    raise(SIGTERM);
    EXPECT_FALSE(signals->TryTake());
    EXPECT_EQ(one_.Take(), 1u);
  }
}

TEST_F(StopSignalsTest, StaysJoinedWhenItIsMoved) {
  auto signals = StopSignals::Join(one_.fd());
  { const StopSignals moved = *std::move(signals); }
  EXPECT_FALSE(IsBlocked(SIGTERM));
}

}  // namespace
}  // namespace brood::server
