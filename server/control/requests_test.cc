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

TEST_F(RequestsTest, HasNoRequestsAtFirst) {
  ASSERT_THAT(requests_, IsOk());
  EXPECT_FALSE(Readable());
  const Requests::Taken taken = requests_->Take();
  EXPECT_EQ(taken.stops, 0);
  EXPECT_FALSE(taken.upgrade);
}

TEST_F(RequestsTest, CountsRequestsToStopUntilTheyAreTaken) {
  requests_->RequestStop();
  requests_->RequestStop();
  EXPECT_TRUE(Readable());
  const Requests::Taken taken = requests_->Take();
  EXPECT_EQ(taken.stops, 2);
  EXPECT_FALSE(taken.upgrade);
  EXPECT_FALSE(Readable());
  EXPECT_EQ(requests_->Take().stops, 0);
}

TEST_F(RequestsTest, CountsNoMoreRequestsToStopThanHaveAnEffect) {
  for (int i = 0; i < 100; ++i) requests_->RequestStop();
  EXPECT_EQ(requests_->Take().stops, Requests::kMostStops);
}

TEST_F(RequestsTest, TreatsSeveralRequestsForAnUpgradeAsOne) {
  requests_->RequestUpgrade();
  requests_->RequestUpgrade();
  requests_->RequestStop();
  const Requests::Taken taken = requests_->Take();
  EXPECT_TRUE(taken.upgrade);
  EXPECT_EQ(taken.stops, 1);
  EXPECT_FALSE(requests_->Take().upgrade);
}

TEST_F(RequestsTest, KeepsErrnoInASignalHandlerThatMakesARequest) {
  static const Requests* requests;
  requests = &*requests_;
  const auto previous =
      signal(SIGUSR1, [](int /*signal*/) { requests->RequestUpgrade(); });
  // No request waits, and then the counter is full: the write is an error then.
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
