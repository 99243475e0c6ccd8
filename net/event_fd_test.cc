// SPDX-License-Identifier: Apache-2.0

#include "brood/net/event_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "brood/net/unique_fd.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;

class EventFdTest : public ::brood::testing::LeakCheck {
 protected:
  EventFdTest() : event_(*EventFd::Create()) {}

  bool IsReadable() const {
    pollfd polled = {event_.fd(), POLLIN, 0};
    return poll(&polled, 1, 0) == 1;
  }

  EventFd event_;
};

TEST_F(EventFdTest, OwnsNothingByDefault) { EXPECT_EQ(EventFd().fd(), -1); }

TEST_F(EventFdTest, ClosesOnExecAndDoesNotBlock) {
  EXPECT_EQ(fcntl(event_.fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(fcntl(event_.fd(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(EventFdTest, LiesAboveTheStandardDescriptors) {
  const int kept = dup(STDIN_FILENO);
  close(STDIN_FILENO);
  const absl::StatusOr<EventFd> event = EventFd::Create();
  dup2(kept, STDIN_FILENO);
  close(kept);
  ASSERT_THAT(event, IsOk());
  EXPECT_GT(event->fd(), STDERR_FILENO);
}

TEST_F(EventFdTest, IsReadableFromNotifyUntilTake) {
  EXPECT_FALSE(IsReadable());
  event_.Notify();
  EXPECT_TRUE(IsReadable());
  EXPECT_EQ(event_.Take(), 1u);
  EXPECT_FALSE(IsReadable());
}

TEST_F(EventFdTest, ReturnsTheSumOfAllCountsOnce) {
  event_.Notify();
  event_.Notify(41);
  EXPECT_EQ(event_.Take(), 42u);
  EXPECT_EQ(event_.Take(), 0u);
}

TEST_F(EventFdTest, KeepsAFullCounterAndErrno) {
  constexpr uint64_t kFull = UINT64_MAX - 1;
  event_.Notify(kFull);
  errno = ECONNRESET;
  event_.Notify();
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(event_.Take(), kFull);
  EXPECT_EQ(event_.Take(), 0u);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(EventFdTest, IsSharedWithAForkedProcess) {
  const pid_t child = fork();
  if (child == 0) {
    event_.Notify(7);
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(event_.Take(), 7u);
}

// Adopts the counter as a program does that inherits it.
TEST_F(EventFdTest, OwnsAnAdoptedCounterThatItSharesWithItsCreator) {
  const int copy = dup(event_.fd());
  {
    const EventFd adopted = EventFd::Adopt(UniqueFd::Adopt(copy));
    EXPECT_EQ(adopted.fd(), copy);
    adopted.Notify(3);
  }
  EXPECT_LT(fcntl(copy, F_GETFD), 0);
  EXPECT_EQ(event_.Take(), 3u);
}

TEST_F(EventFdTest, MovesItsDescriptor) {
  const int fd = event_.fd();
  const EventFd moved = std::move(event_);
  EXPECT_EQ(moved.fd(), fd);
  EXPECT_EQ(event_.fd(), -1);  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace brood::net
