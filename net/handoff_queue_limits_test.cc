// SPDX-License-Identifier: Apache-2.0

// How much a queue holds, and which error it returns when it is full.

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "brood/net/handoff_queue.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;

class HandoffQueueLimitsTest : public ::brood::testing::LeakCheck {
 protected:
  HandoffQueueLimitsTest() : pair_(*ConnectionPair::Create()) {}

  // Offers connections until one is refused. Returns why.
  absl::Status Fill() {
    for (uint32_t serial = 1; serial < 10000; ++serial) {
      absl::Status offered = queue_.Offer({1, serial}, pair_.connection);
      if (!offered.ok()) return offered;
    }
    return absl::OkStatus();
  }

  ConnectionPair pair_;
  HandoffQueue queue_ = *HandoffQueue::Create();
};

TEST_F(HandoffQueueLimitsTest, ReturnsUnavailableWhenItsSocketIsFull) {
  const int least = 1;
  ASSERT_EQ(setsockopt(queue_.fd_to_offer(), SOL_SOCKET, SO_SNDBUF, &least,
                       sizeof(least)),
            0);
  EXPECT_THAT(Fill(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_TRUE(queue_.Acknowledge());
  EXPECT_THAT(queue_.Offer({1, 1}, pair_.connection), IsOk());
}

// The kernel counts the descriptors on their way in all sockets of the user,
// unless the process is privileged.
TEST_F(HandoffQueueLimitsTest, ReportsTooManyDescriptorsOnTheirWay) {
  const pid_t child = fork();
  if (child == 0) {
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2] = {};
    const rlimit few = {30, 30};
    if (syscall(SYS_capset, &header, none) != 0 ||
        setrlimit(RLIMIT_NOFILE, &few) != 0) {
      _exit(2);
    }
    _exit(absl::IsResourceExhausted(Fill()) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(TEMP_FAILURE_RETRY(waitpid(child, &status, 0)), child);
  EXPECT_EQ(status, 0);
}

TEST_F(HandoffQueueLimitsTest, SendsADescriptorWithAnOrder) {
  EXPECT_THAT(queue_.Order({7, 8}, pair_.connection.fd()), IsOk());
  absl::StatusOr<HandoffQueue::Message> message = queue_.Await();
  ASSERT_THAT(message, IsOk());
  EXPECT_EQ(message->ticket.slot, 7u);
  ASSERT_TRUE(message->connection);
  EXPECT_GE(message->connection->fd(), 0);
}

}  // namespace
}  // namespace brood::net
