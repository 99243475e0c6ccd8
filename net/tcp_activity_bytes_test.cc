// SPDX-License-Identifier: Apache-2.0

// Which socket an answer of the kernel describes, and which bytes it counts
// (F8, F9).

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <vector>

#include "brood/net/endpoint.h"
#include "brood/net/io.h"
#include "brood/net/tcp_activity.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/network/lost_power.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/refuse_calls.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::Await;
using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using Meaning = TcpActivity::Meaning;

class TcpActivityBytesTest : public ::brood::testing::LeakCheck {
 protected:
  TcpActivityBytesTest()
      : activity_(*TcpActivity::Create()),
        pair_(*ConnectionPair::Create()),
        id_(Id()) {}

  TcpSocketId Id() const {
    return TcpSocketId::Of(pair_.connection.fd(),
                           pair_.connection.local_address(),
                           pair_.connection.peer());
  }

  const TcpActivity activity_;
  const ConnectionPair pair_;
  TcpSocketId id_;
};

// The addresses and the inode do not identify a socket. On a kernel without
// cookies, or under a filter of system calls, the socket has no identity.
TEST_F(TcpActivityBytesTest, DoesNotAskAboutSocketsWithoutACookie) {
  id_.cookie = 0;
  const TcpActivity::Answer answer = activity_.Ask(id_);
  EXPECT_EQ(answer.means, Meaning::kNotVisible);
  EXPECT_THAT(answer.error, StatusIs(absl::StatusCode::kUnimplemented));
  const pid_t child = fork();
  if (child == 0) {
    ::brood::testing::RefuseCalls({SYS_getsockopt}, ENOPROTOOPT);
    _exit(Id().cookie == 0 ? 0 : 1);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// The list of all sockets is an answer with parts. While a part was not
// fetched, the kernel refuses to begin another list.
TEST_F(TcpActivityBytesTest, AsksAgainAfterAListThatWasInterrupted) {
  std::vector<ConnectionPair> many;
  for (int i = 0; i < 300; ++i) many.push_back(*ConnectionPair::Create());
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } list = {};
  list.header = {sizeof(list), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP,
                 UINT32_MAX, 0};
  list.request.sdiag_family = AF_INET;
  list.request.sdiag_protocol = IPPROTO_TCP;
  list.request.idiag_ext = 1 << (INET_DIAG_INFO - 1);
  list.request.idiag_states = UINT32_MAX;
  ASSERT_EQ(send(activity_.fd(), &list, sizeof(list), 0),
            static_cast<ssize_t>(sizeof(list)));
  TcpSocketId gone = id_;
  gone.peer = Endpoint::Parse("192.0.2.1:7")->ToAddress();
  gone.cookie = UINT64_MAX;  // which no socket has
  EXPECT_NE(activity_.Ask(gone).means, Meaning::kAlive);
  EXPECT_EQ(activity_.Ask(gone).means, Meaning::kClosed);
  EXPECT_EQ(activity_.Ask(id_).means, Meaning::kAlive);
}

// A peer that has lost its power acknowledges nothing, and the kernel sends the
// bytes in flight again and again: its clocks move and the counts do not.
TEST_F(TcpActivityBytesTest, DoesNotCountWhatIsSentAgain) {
  ASSERT_EQ(::brood::testing::LosePower(pair_.client.fd()), 0);
  ASSERT_THAT(WriteFull(pair_.connection.socket(), "0123456789"), IsOk());
  const TcpActivity::Answer first = activity_.Ask(id_);
  EXPECT_EQ(first.bytes_sent, 10u);
  const auto sent_again = [&] {
    tcp_info info = {};
    socklen_t length = sizeof(info);
    return getsockopt(pair_.connection.fd(), IPPROTO_TCP, TCP_INFO, &info,
                      &length) == 0 &&
           info.tcpi_total_retrans >= 2;
  };
  ASSERT_TRUE(Await(sent_again));
  const TcpActivity::Answer later = activity_.Ask(id_);
  ASSERT_EQ(later.means, Meaning::kAlive);
  EXPECT_TRUE(later.more_waits);
  EXPECT_EQ(later.bytes_sent, first.bytes_sent);
  EXPECT_EQ(later.bytes_received, first.bytes_received);
  EXPECT_EQ(later.bytes_acknowledged, first.bytes_acknowledged);
}

}  // namespace
}  // namespace brood::net
