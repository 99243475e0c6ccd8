// SPDX-License-Identifier: Apache-2.0

#include "brood/server/control/requests.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <csignal>

#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;

class RequestsTest : public ::brood::testing::LeakCheck {
 protected:
  bool Readable() const {
    pollfd polled = {requests_->fd(), POLLIN, 0};
    return poll(&polled, 1, 0) == 1;
  }

  absl::StatusOr<Requests> requests_ = Requests::Create();
};

TEST_F(RequestsTest, HasNothingUntilSomebodyAsks) {
  ASSERT_THAT(requests_, IsOk());
  EXPECT_FALSE(Readable());
  const Requests::Taken taken = requests_->Take();
  EXPECT_EQ(taken.drains, 0);
  EXPECT_FALSE(taken.upgrade);
}

TEST_F(RequestsTest, CountsDrainsUntilTheyAreTaken) {
  requests_->AskToDrain();
  requests_->AskToDrain();
  EXPECT_TRUE(Readable());
  const Requests::Taken taken = requests_->Take();
  EXPECT_EQ(taken.drains, 2);
  EXPECT_FALSE(taken.upgrade);
  EXPECT_FALSE(Readable());
  EXPECT_EQ(requests_->Take().drains, 0);
}

TEST_F(RequestsTest, MoreDrainsThanChangeAnythingAreNotCounted) {
  for (int i = 0; i < 100; ++i) requests_->AskToDrain();
  EXPECT_EQ(requests_->Take().drains, Requests::kMostDrains);
}

TEST_F(RequestsTest, ManyUpgradesAreOne) {
  requests_->AskToUpgrade();
  requests_->AskToUpgrade();
  requests_->AskToDrain();
  const Requests::Taken taken = requests_->Take();
  EXPECT_TRUE(taken.upgrade);
  EXPECT_EQ(taken.drains, 1);
  EXPECT_FALSE(requests_->Take().upgrade);
}

TEST_F(RequestsTest, MayBeAskedInASignalHandlerThatKeepsErrno) {
  static const Requests* asked;
  asked = &*requests_;
  const auto previous =
      signal(SIGUSR1, [](int /*signal*/) { asked->AskToUpgrade(); });
  // Nothing waits, and then as much as there is room for: that is an error.
  for (const eventfd_t waits : {eventfd_t{0}, ~eventfd_t{1}}) {
    ASSERT_EQ(eventfd_write(requests_->fd(), waits), 0);
    errno = ENOTTY;
    raise(SIGUSR1);
    EXPECT_EQ(errno, ENOTTY);
    EXPECT_TRUE(requests_->Take().upgrade);
  }
  signal(SIGUSR1, previous);
}

}  // namespace
}  // namespace brood::server
