// SPDX-License-Identifier: Apache-2.0

#include "brood/net/tcp_activity.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/endpoint.h"
#include "brood/net/io.h"
#include "brood/net/listener.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/network/other_network.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/refuse_calls.h"
#include "brood/testing/test_client.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::Await;
using ::brood::testing::ConnectionPair;
using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;
using Meaning = TcpActivity::Meaning;

class TcpActivityTest : public ::brood::testing::LeakCheck {
 protected:
  TcpActivityTest()
      : activity_(*TcpActivity::Create()), pair_(*ConnectionPair::Create()) {}

  static TcpSocketId IdOf(const Connection& connection) {
    return TcpSocketId::Of(connection.fd(), connection.local_address(),
                           connection.peer());
  }
  TcpActivity::Answer Ask() { return activity_.Ask(id_); }
  // Closes the server's end, as a child does.
  void CloseConnection() { pair_.connection.Close(); }

  TcpActivity activity_;
  ConnectionPair pair_;
  TcpSocketId id_ = IdOf(pair_.connection);
};

// Returns the address of `fd`, or of its peer.
PeerAddress AddressOf(int fd, decltype(getsockname) get) {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  EXPECT_EQ(get(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  return PeerAddress::FromSockaddr(address);
}

// A listener and a client that is in its queue, as descriptors.
struct Waiting {
  Socket listener, client;
};

// Returns such a pair on `host`, whose listener is bound to `interface` unless
// that is null.
Waiting Connect(const char* host, const char* interface) {
  const Endpoint endpoint = *Endpoint::Parse(absl::StrCat(host, ":0"));
  const int family = endpoint.address()->sa_family;
  Waiting made;
  made.listener = Socket::Adopt(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int listener = made.listener.fd();
  if (interface != nullptr) {
    EXPECT_EQ(setsockopt(listener, SOL_SOCKET, SO_BINDTODEVICE, interface,
                         static_cast<socklen_t>(strlen(interface) + 1)),
              0);
  }
  EXPECT_EQ(bind(listener, endpoint.address(), endpoint.address_length()), 0);
  EXPECT_EQ(listen(listener, 1), 0);
  const PeerAddress bound = AddressOf(listener, getsockname);
  made.client =
      Socket::Adopt(socket(bound.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(made.client.fd(), bound.address(), bound.address_length()),
            0);
  return made;
}

TEST_F(TcpActivityTest, CountsReceivedBytesThatNoProcessHasRead) {
  EXPECT_EQ(Ask().means, Meaning::kAlive);
  EXPECT_EQ(Ask().bytes_received, 0u);
  ASSERT_THAT(WriteFull(pair_.client, "hello"), IsOk());
  EXPECT_EQ(Ask().bytes_received, 5u);
}

// A client of a listener on every address may come by IPv4 to an IPv6 socket.
TEST_F(TcpActivityTest, FindsConnectionsOfEveryFamily) {
  const struct {
    const char *listens, *host;
  } kFamilies[] = {{"[::1]:0", "[::1]"}, {":0", "[::1]"}, {":0", "127.0.0.1"}};
  for (const auto& family : kFamilies) {
    absl::StatusOr<Listener> listener =
        Listener::Listen(*Endpoint::Parse(family.listens), /*backlog=*/1);
    if (!listener.ok()) GTEST_SKIP() << "this machine has no IPv6";
    TestClient client = *TestClient::Connect(*Endpoint::Parse(
        absl::StrCat(family.host, ":", listener->endpoint().port())));
    pollfd queue = {listener->fd(), POLLIN, 0};
    ASSERT_EQ(poll(&queue, 1, 10000), 1);
    const Accepted accepted = listener->Accept();
    ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
    ASSERT_THAT(client.Send("hello"), IsOk());
    EXPECT_THAT(activity_.CheckSees(listener->fd()), IsOk());
    const auto answer = activity_.Ask(IdOf(*accepted.connection));
    EXPECT_EQ(answer.means, Meaning::kAlive) << client.endpoint().ToString();
    EXPECT_EQ(answer.bytes_received, 5u);
  }
}

TEST_F(TcpActivityTest, CountsBytesInEitherDirectionAndWhenTheLastOneMoved) {
  constexpr absl::Duration kPause = absl::Milliseconds(60);
  const Socket* const ends[] = {&pair_.client, &pair_.connection.socket()};
  for (const Socket* from : ends) {
    absl::SleepFor(kPause);  // the test checks this length
    const TcpActivity::Answer before = Ask();
    EXPECT_GE(before.since_segment, kPause / 2);
    ASSERT_THAT(WriteFull(*from, "x"), IsOk());
    const TcpActivity::Answer after = Ask();
    EXPECT_LT(after.since_segment, kPause);
    EXPECT_EQ(after.bytes_sent + after.bytes_received,
              before.bytes_sent + before.bytes_received + 1);
  }
}

TEST_F(TcpActivityTest, ReportsBytesThatTheClientHasNotRead) {
  const auto before = Ask();
  ASSERT_EQ(before.means, Meaning::kAlive);
  EXPECT_FALSE(before.more_waits);
  // More than the buffers of both ends hold.
  const std::string bytes(1 << 20, 'x');
  const auto send_some = [&] {
    return send(pair_.connection.fd(), bytes.data(), bytes.size(),
                MSG_DONTWAIT | MSG_NOSIGNAL);
  };
  ssize_t sent = 0;
  for (ssize_t size; (size = send_some()) > 0;) sent += size;
  // Wait until nothing is on its way, because the client has no room left.
  const auto none_on_its_way = [&] {
    tcp_info info = {};
    socklen_t length = sizeof(info);
    return getsockopt(pair_.connection.fd(), IPPROTO_TCP, TCP_INFO, &info,
                      &length) == 0 &&
           info.tcpi_unacked == 0;
  };
  ASSERT_TRUE(Await(none_on_its_way));
  const auto full = Ask();
  ASSERT_EQ(full.means, Meaning::kAlive);
  EXPECT_TRUE(full.more_waits);

  std::string taken(static_cast<size_t>(sent), '\0');
  ASSERT_THAT(ReadFull(pair_.client, absl::MakeSpan(taken)), IsOk());
  const auto all_there = [&] { return !Ask().more_waits; };
  EXPECT_TRUE(Await(all_there));
  EXPECT_EQ(Ask().bytes_acknowledged - before.bytes_acknowledged,
            static_cast<uint64_t>(sent));
}

// Tests each state of a connection of which no process has a descriptor: gone,
// reset by the peer, waiting in TIME_WAIT or FIN_WAIT2, and with bytes that the
// client does not read.
TEST_F(TcpActivityTest, ReportsClosedForEveryKindOfEnd) {
  const auto by_peer = [&] {
    pair_.client.Close();
    CloseConnection();
  };
  const auto by_reset = [&] {
    ASSERT_THAT(WriteFull(pair_.client, "unread"), IsOk());
    CloseConnection();
  };
  const auto first = [&] { CloseConnection(); };  // FIN_WAIT2
  const auto first_and_then_the_peer = [&] {      // TIME_WAIT
    CloseConnection();
    pair_.client.Close();
  };
  const auto with_bytes_left = [&] {
    const std::string bytes(1 << 20, 'x');
    while (send(pair_.connection.fd(), bytes.data(), bytes.size(),
                MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    CloseConnection();
  };
  const std::function<void()> ends[] = {
      by_peer, by_reset, first, first_and_then_the_peer, with_bytes_left};
  for (size_t i = 0; i < std::size(ends); ++i) {
    pair_ = *ConnectionPair::Create();
    id_ = IdOf(pair_.connection);
    EXPECT_EQ(Ask().means, Meaning::kAlive) << i;
    ends[i]();
    EXPECT_EQ(Ask().means, Meaning::kClosed) << i;
  }
}

// The child still has the descriptor, and does not use it.
TEST_F(TcpActivityTest, ReportsClosedAfterAResetByThePeer) {
  const linger at_once = {1, 0};
  setsockopt(pair_.client.fd(), SOL_SOCKET, SO_LINGER, &at_once,
             sizeof(at_once));
  pair_.client.Close();
  const auto ended = [&] { return Ask().means == Meaning::kClosed; };
  EXPECT_TRUE(Await(ended));
}

// A listener answers for the connections that it had, whether clients wait in
// its queue or not.
TEST_F(TcpActivityTest, DistinguishesListenerFromConnection) {
  for (const char* host : {"127.0.0.1", "[::1]"}) {
    const Waiting waiting = Connect(host, nullptr);
    Socket accepted =
        Socket::Adopt(accept(waiting.listener.fd(), nullptr, nullptr));
    const TcpSocketId id =
        TcpSocketId::Of(accepted.fd(), AddressOf(accepted.fd(), getsockname),
                        AddressOf(accepted.fd(), getpeername));
    EXPECT_EQ(activity_.Ask(id).means, Meaning::kAlive);
    const linger at_once = {1, 0};
    setsockopt(accepted.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    accepted.Close();
    EXPECT_EQ(activity_.Ask(id).means, Meaning::kAnotherSocket) << host;
  }
}

TEST_F(TcpActivityTest, DistinguishesLaterConnectionFromEarlierOne) {
  const Waiting waiting = Connect("127.0.0.1", nullptr);
  const auto accept_next = [&] {
    return Socket::Adopt(accept(waiting.listener.fd(), nullptr, nullptr));
  };
  const auto id_of = [](const Socket& socket) {
    return TcpSocketId::Of(socket.fd(), AddressOf(socket.fd(), getsockname),
                           AddressOf(socket.fd(), getpeername));
  };
  Socket earlier = accept_next();
  const TcpSocketId id = id_of(earlier);
  const linger at_once = {1, 0};
  setsockopt(earlier.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  earlier.Close();
  // The same client comes again from the same port.
  const Socket again =
      Socket::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(again.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  ASSERT_EQ(bind(again.fd(), id.peer.address(), id.peer.address_length()), 0);
  ASSERT_EQ(connect(again.fd(), id.local.address(), id.local.address_length()),
            0);
  const Socket later = accept_next();
  EXPECT_EQ(id_of(later).peer, id.peer);
  EXPECT_EQ(activity_.Ask(id).means, Meaning::kAnotherSocket);
  EXPECT_EQ(activity_.Ask(id_of(later)).means, Meaning::kAlive);
}

// Tested: the listener is bound to an interface; a process that has the
// connection binds it to one; each for IPv4, IPv6 and IPv4 on an IPv6 socket.
TEST_F(TcpActivityTest, FindsConnectionsThatAreBoundToAnInterface) {
  for (const char* host : {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"}) {
    for (const bool bound_later : {false, true}) {
      SCOPED_TRACE(absl::StrCat(host, bound_later ? ", later" : ""));
      const Waiting waiting = Connect(host, bound_later ? nullptr : "lo");
      EXPECT_THAT(activity_.CheckSees(waiting.listener.fd()), IsOk());
      const Socket accepted =
          Socket::Adopt(accept(waiting.listener.fd(), nullptr, nullptr));
      TcpSocketId id =
          TcpSocketId::Of(accepted.fd(), AddressOf(accepted.fd(), getsockname),
                          AddressOf(accepted.fd(), getpeername));
      EXPECT_EQ(id.interface, bound_later ? 0u : if_nametoindex("lo"));
      if (bound_later) {
        ASSERT_EQ(
            setsockopt(accepted.fd(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
      }
      ASSERT_THAT(WriteFull(waiting.client, "hello"), IsOk());
      const TcpActivity::Answer answer = activity_.Ask(id);
      EXPECT_EQ(answer.means, Meaning::kAlive);
      EXPECT_EQ(answer.interface, if_nametoindex("lo"));
      EXPECT_EQ(answer.bytes_received, 5u);
    }
  }
}

TEST_F(TcpActivityTest, ReportsNotFoundForListenersOfAnotherNetwork) {
  // The listeners of both networks have the same address. All ports of the new
  // network are free.
  const absl::StatusOr<Listener> here =
      Listener::Listen(*Endpoint::Parse("127.0.0.1:0"), /*backlog=*/1);
  ASSERT_THAT(here, IsOk());
  auto other = ::brood::testing::OtherNetwork::Create(
      /*count=*/0, AddressOf(here->fd(), getsockname).port());
  if (!other.ok()) GTEST_SKIP() << other.status();
  EXPECT_THAT(activity_.CheckSees(here->fd()), IsOk());
  EXPECT_THAT(activity_.CheckSees(other->listener.fd()),
              StatusIs(absl::StatusCode::kNotFound));
}

// Two listeners may have one address.
TEST_F(TcpActivityTest, FindsEachListenerOfASharedAddress) {
  std::vector<Socket> listeners;
  PeerAddress address = Endpoint::Parse("127.0.0.1:0")->ToAddress();
  for (int i = 0; i < 4; ++i) {
    listeners.push_back(
        Socket::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    const int fd = listeners.back().fd();
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    ASSERT_EQ(bind(fd, address.address(), address.address_length()), 0);
    ASSERT_EQ(listen(fd, 1), 0);
    address = AddressOf(fd, getsockname);
  }
  for (const Socket& listener : listeners) {
    EXPECT_THAT(activity_.CheckSees(listener.fd()), IsOk());
  }
}

// A call that fails, with any errno, says nothing about the connection.
TEST_F(TcpActivityTest, ReportsNotVisibleIfTheQuestionFails) {
  const int error[] = {EPERM, EACCES, ENOENT, ENOBUFS, ECONNREFUSED};
  for (const int call : {SYS_sendto, SYS_recvfrom}) {
    for (const int each : error) {
      const pid_t child = fork();
      if (child == 0) {
        ::brood::testing::RefuseCalls({call}, each);
        const TcpActivity::Answer answer = Ask();
        _exit(answer.means == Meaning::kNotVisible && !answer.error.ok() ? 0
                                                                         : 1);
      }
      int status;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      EXPECT_EQ(status, 0) << call << ": " << strerrorname_np(each);
    }
  }
}

// An answer that was not fetched belongs to an earlier question.
TEST_F(TcpActivityTest, IgnoresAnswersToEarlierQuestions) {
  const pid_t child = fork();
  if (child == 0) {
    // The same socket, and so the same queue of answers.
    ::brood::testing::RefuseCalls({SYS_recvfrom}, EINVAL);
    _exit(Ask().means == Meaning::kNotVisible ? 0 : 1);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  TcpSocketId gone = id_;
  gone.peer = Endpoint::Parse("192.0.2.1:7")->ToAddress();
  gone.cookie = UINT64_MAX;  // which no socket has
  Ask();                     // makes the numbers of the questions differ
  EXPECT_EQ(activity_.Ask(gone).means, Meaning::kClosed);
}

TEST_F(TcpActivityTest, AnswersForAConnectionThatAnotherProcessHolds) {
  ASSERT_THAT(WriteFull(pair_.client, "hello"), IsOk());
  int held[2];
  ASSERT_EQ(pipe(held), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(held[1]);
    char byte;
    _exit(static_cast<int>(read(held[0], &byte, 1)));
  }
  CloseConnection();
  EXPECT_EQ(Ask().means, Meaning::kAlive);
  close(held[0]);
  close(held[1]);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

}  // namespace
}  // namespace brood::net
