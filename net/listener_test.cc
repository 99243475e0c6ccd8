// SPDX-License-Identifier: Apache-2.0

#include "brood/net/listener.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;
using ::testing::HasSubstr;

class ListenerTest : public ::brood::testing::LeakCheck {
 protected:
  static Listener ListenOn(absl::string_view text, int backlog = kFullBacklog) {
    return *Listener::Listen(*Endpoint::Parse(text), backlog);
  }
  static TestClient ConnectTo(const Endpoint& endpoint) {
    return *TestClient::Connect(endpoint);
  }
  // connect() returns a moment before the listener has the connection.
  static Accepted AwaitAccepted(Listener& listener) {
    pollfd queue = {listener.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&queue, 1, 10000), 1);
    return listener.Accept();
  }
};

TEST_F(ListenerTest, HasAVerdictForEveryErrno) {
  std::map<int, AcceptVerdict> known = {{EAGAIN, AcceptVerdict::kNoneWaiting}};
  for (int error :
       {ECONNABORTED, ECONNRESET, EINTR, EPROTO, ENOPROTOOPT, EOPNOTSUPP, EPERM,
        EACCES, EPROTONOSUPPORT, ESOCKTNOSUPPORT, ENETDOWN, ENETUNREACH, ENONET,
        EHOSTDOWN, EHOSTUNREACH, ETIMEDOUT}) {
    known[error] = AcceptVerdict::kTryNext;
  }
  for (int error : {EBADF, EINVAL, ENOTSOCK, EFAULT}) {
    known[error] = AcceptVerdict::kDead;
  }
  for (int error = 0; error < 4096; ++error) {
    const auto found = known.find(error);
    EXPECT_EQ(SortAcceptError(error),
              found == known.end() ? AcceptVerdict::kPause : found->second)
        << "errno " << error;
  }
}

// The errnos that accept(2) lists, and those of a policy: each has its own row
// in the table.
TEST_F(ListenerTest, ListsEachDocumentedErrnoOfAccept) {
  std::map<int, int> times;
  for (const AcceptError& known : AcceptErrors()) ++times[known.error];
  for (int error :
       {EAGAIN, EWOULDBLOCK,     EBADF,      ECONNABORTED,    EFAULT,
        EINTR,  EINVAL,          EMFILE,     ENFILE,          ENOBUFS,
        ENOMEM, ENOTSOCK,        EOPNOTSUPP, EPERM,           EPROTO,
        ENOSR,  ESOCKTNOSUPPORT, ETIMEDOUT,  EPROTONOSUPPORT, ENETDOWN,
        ENONET, ENOPROTOOPT,     EHOSTDOWN,  EHOSTUNREACH,    ENETUNREACH,
        EACCES, ENOSYS}) {
    EXPECT_EQ(times[error], 1) << strerrorname_np(error);
  }
}

TEST_F(ListenerTest, StartsCloseOnExecNonBlockingAndWithReuseAddress) {
  const Listener listener = ListenOn("127.0.0.1:0");
  EXPECT_EQ(fcntl(listener.fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(fcntl(listener.fd(), F_GETFL) & O_NONBLOCK, 0);
  int reuse = 0;
  socklen_t length = sizeof(reuse);
  ASSERT_EQ(
      getsockopt(listener.fd(), SOL_SOCKET, SO_REUSEADDR, &reuse, &length), 0);
  EXPECT_EQ(reuse, 1);
}

TEST_F(ListenerTest, ConnectionsDoNotWaitForDelayedAcknowledgements) {
  Listener listener = ListenOn("127.0.0.1:0");
  const TestClient client = ConnectTo(listener.endpoint());
  const Accepted accepted = AwaitAccepted(listener);
  ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
  int no_delay = 0;
  socklen_t length = sizeof(no_delay);
  ASSERT_EQ(getsockopt(accepted.connection->fd(), IPPROTO_TCP, TCP_NODELAY,
                       &no_delay, &length),
            0);
  EXPECT_EQ(no_delay, 1);
}

// The kernel probes a silent client after two hours, or after the time that the
// machine is configured for.
TEST_F(ListenerTest, ConnectionsHaveKeepaliveWithTheTimesOfTheMachine) {
  for (const char* address : {"127.0.0.1:0", "[::1]:0", ":0"}) {
    absl::StatusOr<Listener> listener =
        Listener::Listen(*Endpoint::Parse(address), /*backlog=*/1);
    if (!listener.ok()) continue;  // this machine has no IPv6
    const Endpoint to =
        *Endpoint::Parse(absl::StrCat(*address == '[' ? "[::1]:" : "127.0.0.1:",
                                      listener->endpoint().port()));
    const TestClient client = ConnectTo(to);
    const Accepted accepted = AwaitAccepted(*listener);
    ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
    const int fd = accepted.connection->fd();
    int on = 0, silence = 0, user_timeout = -1;
    socklen_t length = sizeof(on);
    getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &length);
    getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &silence, &length);
    getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, &length);
    EXPECT_EQ(on, 1) << address;
    EXPECT_EQ(user_timeout, 0);
    int usual = 0;
    std::ifstream("/proc/sys/net/ipv4/tcp_keepalive_time") >> usual;
    EXPECT_EQ(silence, usual);
  }
}

TEST_F(ListenerTest, ReportsThePortThatTheKernelChose) {
  const Listener listener = ListenOn("127.0.0.1:0");
  EXPECT_NE(listener.endpoint().port(), 0);
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  ASSERT_EQ(getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address),
                        &length),
            0);
  EXPECT_EQ(listener.endpoint(), Endpoint::FromSockaddr(address));
}

TEST_F(ListenerTest, NamesTheEndpointThatIsInUse) {
  const Listener first = ListenOn("127.0.0.1:0");
  EXPECT_THAT(Listener::Listen(first.endpoint(), kFullBacklog),
              StatusIs(absl::ErrnoToStatusCode(EADDRINUSE),
                       absl::StrCat("bind ", first.endpoint().ToString(),
                                    ": Address already in use")));
}

TEST_F(ListenerTest, NamesAnAddressThatIsNotOurs) {
  // An address for documentation, which no machine has (RFC 5737).
  EXPECT_THAT(Listener::Listen(*Endpoint::Parse("192.0.2.1:0"), kFullBacklog),
              StatusIs(absl::ErrnoToStatusCode(EADDRNOTAVAIL),
                       HasSubstr("bind 192.0.2.1:0: ")));
}

// Gives up the capabilities of root for as long as the object lives.
class Unprivileged {
 public:
  Unprivileged() {
    syscall(SYS_capget, &header_, before_);
    __user_cap_data_struct none[2] = {before_[0], before_[1]};
    none[0].effective = none[1].effective = 0;
    syscall(SYS_capset, &header_, none);
  }
  ~Unprivileged() { syscall(SYS_capset, &header_, before_); }

 private:
  __user_cap_header_struct header_ = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct before_[2];
};

TEST_F(ListenerTest, NamesPortThatNeedsPrivileges) {
  int first_free_for_all = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >>
      first_free_for_all;
  if (first_free_for_all <= 7) GTEST_SKIP() << "any user may bind port 7 here";
  const Unprivileged unprivileged;
  EXPECT_THAT(Listener::Listen(*Endpoint::Parse("127.0.0.1:7"), kFullBacklog),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       "bind 127.0.0.1:7: Permission denied"));
}

TEST_F(ListenerTest, AcceptsAConnectionWithBothItsEnds) {
  Listener listener = ListenOn("127.0.0.1:0");
  const TestClient client = ConnectTo(listener.endpoint());
  const Instant before = Now();
  const Accepted accepted = AwaitAccepted(listener);
  ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
  EXPECT_EQ(accepted.connection->peer(), client.endpoint());
  EXPECT_EQ(accepted.connection->local(), listener.endpoint());
  EXPECT_GE(accepted.connection->accepted_at(), before);
  EXPECT_LE(accepted.connection->accepted_at(), Now());
}

TEST_F(ListenerTest, AcceptsBlockingCloseOnExecSockets) {
  Listener listener = ListenOn("127.0.0.1:0");
  const TestClient client = ConnectTo(listener.endpoint());
  const Accepted accepted = AwaitAccepted(listener);
  EXPECT_EQ(fcntl(accepted.connection->fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(accepted.connection->fd(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(ListenerTest, ReturnsNoneWaitingAtOnce) {
  Listener listener = ListenOn("127.0.0.1:0");
  const Accepted accepted = listener.Accept();
  EXPECT_EQ(accepted.verdict, AcceptVerdict::kNoneWaiting);
  EXPECT_EQ(accepted.error, EAGAIN);
  EXPECT_FALSE(accepted.connection);
}

TEST_F(ListenerTest, PausesWhenDescriptorsRunOut) {
  Listener listener = ListenOn("127.0.0.1:0");
  TestClient client = ConnectTo(listener.endpoint());
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {3, before.rlim_max};  // the listener has 3, at least
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Accepted accepted = listener.Accept();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(accepted.verdict, AcceptVerdict::kPause);
  EXPECT_EQ(accepted.error, EMFILE);
  // The connection is still in the queue.
  EXPECT_EQ(AwaitAccepted(listener).verdict, AcceptVerdict::kAccepted);
}

TEST_F(ListenerTest, IsDeadOnceItIsClosed) {
  Listener listener = ListenOn("127.0.0.1:0");
  const Endpoint endpoint = listener.endpoint();
  EXPECT_TRUE(listener.open());
  listener.Close();
  EXPECT_FALSE(listener.open());
  EXPECT_EQ(listener.endpoint(), endpoint);
  EXPECT_EQ(listener.Accept().verdict, AcceptVerdict::kDead);
  EXPECT_EQ(listener.queued(), 0);
  EXPECT_THAT(TestClient::Connect(endpoint),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ListenerTest, ReportsPeerThatLeftBeforeAccept) {
  Listener listener = ListenOn("127.0.0.1:0");
  for (int i = 0; i < 50; ++i) {
    TestClient client = ConnectTo(listener.endpoint());
    const Endpoint peer = client.endpoint();
    client.Reset();
    const Accepted accepted = AwaitAccepted(listener);
    ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
    ASSERT_EQ(accepted.connection->peer(), peer);
  }
}

TEST_F(ListenerTest, ReportsLocalAddressThatTheClientChose) {
  Listener listener = ListenOn("0.0.0.0:0");
  const Endpoint chosen =
      *Endpoint::Parse(absl::StrCat("127.0.0.2:", listener.endpoint().port()));
  const TestClient client = ConnectTo(chosen);
  EXPECT_EQ(AwaitAccepted(listener).connection->local(), chosen);
}

bool HaveIpv6() {
  return Listener::Listen(*Endpoint::Parse("[::1]:0"), 1).ok();
}

TEST_F(ListenerTest, AcceptsIpv4AndIpv6OnEveryAddress) {
  if (!HaveIpv6()) GTEST_SKIP() << "this machine has no [::1]";
  Listener listener = ListenOn(":0");
  for (const char* host : {"127.0.0.1:", "[::1]:"}) {
    const Endpoint server =
        *Endpoint::Parse(absl::StrCat(host, listener.endpoint().port()));
    const TestClient client = ConnectTo(server);
    const Accepted accepted = AwaitAccepted(listener);
    EXPECT_EQ(accepted.connection->peer(), client.endpoint());
    EXPECT_EQ(accepted.connection->local(), server);
  }
}

TEST_F(ListenerTest, RefusesIpv4OnEveryIpv6Address) {
  if (!HaveIpv6()) GTEST_SKIP() << "this machine has no [::1]";
  Listener listener = ListenOn("[::]:0");
  const uint16_t port = listener.endpoint().port();
  EXPECT_THAT(
      TestClient::Connect(*Endpoint::Parse(absl::StrCat("127.0.0.1:", port))),
      StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(
      TestClient::Connect(*Endpoint::Parse(absl::StrCat("[::1]:", port))),
      IsOk());
}

TEST_F(ListenerTest, CountsWhoWaitsInTheQueue) {
  Listener listener = ListenOn("127.0.0.1:0");
  EXPECT_EQ(listener.queued(), 0);
  std::vector<TestClient> clients;
  for (int i = 1; i <= 5; ++i) {
    clients.push_back(ConnectTo(listener.endpoint()));
    // There is no event for the moment at which the listener has it: a kernel
    // thread may complete it after connect() has returned.
    const Instant deadline = After(Now(), absl::Seconds(10));
    while (listener.queued() < i && Now() < deadline) sched_yield();
    EXPECT_EQ(listener.queued(), i);
  }
  listener.Accept();
  EXPECT_EQ(listener.queued(), 4);
}

TEST_F(ListenerTest, HasTheLongestQueueThatTheKernelAllows) {
  uint32_t longest = 0;
  std::ifstream("/proc/sys/net/core/somaxconn") >> longest;
  if (longest == 0) GTEST_SKIP() << "somaxconn can't be read here";
  const Listener listener = ListenOn("127.0.0.1:0");
  tcp_info info;
  socklen_t length = sizeof(info);
  ASSERT_EQ(getsockopt(listener.fd(), IPPROTO_TCP, TCP_INFO, &info, &length),
            0);
  EXPECT_EQ(info.tcpi_sacked, longest);  // of a listener: its backlog
}

TEST_F(ListenerTest, HasTheRequestedBacklog) {
  const Listener listener = ListenOn("127.0.0.1:0", 3);
  tcp_info info;
  socklen_t length = sizeof(info);
  ASSERT_EQ(getsockopt(listener.fd(), IPPROTO_TCP, TCP_INFO, &info, &length),
            0);
  EXPECT_EQ(info.tcpi_sacked, 3u);
}

// R48: the side that closes first leaves the port in TIME_WAIT.
TEST_F(ListenerTest, ListensAgainRightAfterItClosedItsConnections) {
  Endpoint endpoint = *Endpoint::Parse("127.0.0.1:0");
  for (int restart = 0; restart < 20; ++restart) {
    absl::StatusOr<Listener> listener =
        Listener::Listen(endpoint, kFullBacklog);
    ASSERT_THAT(listener, IsOk());
    endpoint = listener->endpoint();
    TestClient client = ConnectTo(endpoint);
    AwaitAccepted(*listener).connection.reset();
    ASSERT_THAT(client.ExpectEof(), IsOk());
  }
}

}  // namespace
}  // namespace brood::net
