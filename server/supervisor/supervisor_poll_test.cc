// SPDX-License-Identifier: Apache-2.0

// Tests that no descriptor that the supervisor polls keeps it busy, if it stays
// readable, hung up or in error permanently.

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/server/supervisor/poll_set.h"
#include "brood/server/supervisor/supervisor_fixture.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::TestClient;
using ::testing::ElementsAre;

enum Source { kStrategy, kExits, kRequests, kGenerations, kUpgrade };
enum Condition { kReadable, kHungUp, kError };

// StuckDescriptor gives a descriptor a state in which poll always reports it,
// while an object lives.
class StuckDescriptor {
 public:
  explicit StuckDescriptor(Condition condition) {
    int ends[2];
    if (condition == kReadable) {
      // An epoll descriptor cannot be read, but is readable as long as its
      // member is.
      member_ = net::UniqueFd::Adopt(eventfd(1, EFD_CLOEXEC));
      fd_ = net::UniqueFd::Adopt(epoll_create1(EPOLL_CLOEXEC));
      epoll_event event = {};
      event.events = EPOLLIN;
      EXPECT_EQ(epoll_ctl(fd_.fd(), EPOLL_CTL_ADD, member_.fd(), &event), 0);
      return;
    }
    EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    // When one end of the pipe is closed, the end to read is hung up, and the
    // end to write is in error.
    const bool reads = condition == kHungUp;
    fd_ = net::UniqueFd::Adopt(ends[reads ? 0 : 1]);
    close(ends[reads ? 1 : 0]);
  }

  // Restores the file of the number.
  ~StuckDescriptor() {
    if (saved_.valid()) dup3(saved_.fd(), replaced_, O_CLOEXEC);
  }

  // Gives the number `fd` to the stuck file.
  void Replace(int fd) {
    saved_ = net::UniqueFd::Adopt(dup(fd));
    replaced_ = fd;
    ASSERT_EQ(dup3(fd_.fd(), fd, O_CLOEXEC), fd);
  }
  int fd() const { return fd_.fd(); }

 private:
  net::UniqueFd member_;
  net::UniqueFd saved_;
  int replaced_ = -1;
  net::UniqueFd fd_;
};

class SupervisorPollTest
    : public SupervisorFixture,
      public ::testing::WithParamInterface<std::tuple<Source, Condition>> {
 protected:
  SupervisorPollTest() {
    options_.upgrade.command = {"/program"};
    Create();
  }

  void Break(Source source, StuckDescriptor& stuck) {
    switch (source) {
      case kStrategy:
        strategy_->descriptor = stuck.fd();
        break;
      case kExits:
        stuck.Replace(reaper_->fd());
        break;
      case kRequests:
        stuck.Replace(requests_->fd());
        break;
      case kGenerations:
        requests_->RequestUpgrade();
        Turn();
        stuck.Replace(generations_->fd());
        break;
      case kUpgrade:
        requests_->RequestUpgrade();
        Turn();
        stuck.Replace(program_.fds.at(0));
        break;
    }
  }
};

// A second of turns, of which one takes 20 us, and a turn with nothing to do
// waits for a millisecond.
TEST_P(SupervisorPollTest, IsNotBusyForIt) {
  const auto [source, condition] = GetParam();
  Turn();
  StuckDescriptor stuck(condition);
  Break(source, stuck);
  const net::Instant end = net::After(now_, absl::Seconds(1));
  int busy = 0;
  while (now_ < end) {
    Turn();
    busy += strategy_->idle ? 0 : 1;
    Advance(strategy_->idle ? absl::Milliseconds(1) : absl::Microseconds(20));
  }
  EXPECT_LE(busy, 20 * (PollSet::kMostUnused + 1));
  strategy_->Take();
  const TestClient client = Connect();
  Turn();
  EXPECT_THAT(strategy_->Take(), ElementsAre("dispatch 0"));
  Advance(PollSet::kPeriod);  // so that ends are found again
}

std::string NameOf(
    const ::testing::TestParamInfo<SupervisorPollTest::ParamType>& info) {
  constexpr const char* kSources[] = {"Strategy", "Exits", "Requests",
                                      "Generations", "Upgrade"};
  constexpr const char* kConditions[] = {"Readable", "HungUp", "InError"};
  return absl::StrCat(kSources[std::get<0>(info.param)],
                      kConditions[std::get<1>(info.param)]);
}

INSTANTIATE_TEST_SUITE_P(
    If, SupervisorPollTest,
    ::testing::Combine(::testing::Values(kStrategy, kExits, kRequests,
                                         kGenerations, kUpgrade),
                       ::testing::Values(kReadable, kHungUp, kError)),
    NameOf);

}  // namespace
}  // namespace brood::server
