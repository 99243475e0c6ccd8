// SPDX-License-Identifier: Apache-2.0

// A child of the same user can copy any descriptor of its parent
// (pidfd_getfd(2)). It shuts down and floods both ends of the queues between
// the parent and its processes. The parent must not be kept busy by that.

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/unique_fd.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

class ParentDescriptorsTest : public StrategyTest {
 protected:
  // Returns copies of the sockets of `pid` that keep the boundaries of
  // messages: its queues and channels. Empty if this process may not copy them.
  static std::vector<net::UniqueFd> QueuesOf(pid_t pid) {
    std::vector<net::UniqueFd> queues;
    const net::UniqueFd process =
        net::UniqueFd::Adopt(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    for (const int fd : DescriptorsOf(absl::StrCat(pid))) {
      net::UniqueFd copy = net::UniqueFd::Adopt(
          static_cast<int>(syscall(SYS_pidfd_getfd, process.fd(), fd, 0)));
      int type = 0;
      socklen_t size = sizeof(type);
      if (copy.valid() &&
          getsockopt(copy.fd(), SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
          type == SOCK_SEQPACKET) {
        queues.push_back(std::move(copy));
      }
    }
    return queues;
  }
};

void Flood(int fd) {
  while (send(fd, "flood", 5, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
}

TEST_P(ParentDescriptorsTest, KeepNoParentBusyThoughAChildShutsAndFloodsThem) {
  for (const bool floods : {true, false}) {
    TestServer::Setup setup;
    setup.options.pool.workers = 4;
    const auto server = StartServer(std::move(setup));
    ExpectRest(*server);
    const std::vector<net::UniqueFd> queues = QueuesOf(server->pid());
    for (const net::UniqueFd& queue : queues) {
      floods ? Flood(queue.fd()) : (void)shutdown(queue.fd(), SHUT_RDWR);
    }
    const absl::Duration busy_before = CpuTimeOf(server->pid());
    LetPass(absl::Milliseconds(600));  // the claim is about a length of time
    EXPECT_LT(CpuTimeOf(server->pid()) - busy_before,
              kCostOfFork * absl::Milliseconds(30));
    // A zygote has one queue, whose messages are lost with it.
    for (int i = 0; i < (row().forks_itself ? 10 : 0); ++i) {
      TestClient client = ConnectTo(*server);
      EXPECT_THAT(client.Echo("hello"), IsOk());
    }
    const net::Instant stopped = net::Now();
    StopAndExpectClean(*server);
    EXPECT_LT(absl::FromChrono(net::Now() - stopped), absl::Seconds(3));
  }
}

INSTANTIATE_TEST_SUITE_P(With, ParentDescriptorsTest, EachStrategy(),
                         StrategyName());

}  // namespace
}  // namespace brood::testing
