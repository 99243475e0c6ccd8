// SPDX-License-Identifier: Apache-2.0
//
// Deadlines where the kernel does not report on a connection as it usually
// does: each is kept, or refused by name.

#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/net/socket.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/totals.h"
#include "brood/testing/fault_injector.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/network/other_network.h"
#include "brood/testing/support/observe.h"
#include "brood/testing/support/refuse_calls.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::ExitCode;
using server::KillReason;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// A deadline that the parent enforces by asking the kernel.
struct Asking {
  const char* field;
  const char* reason;
  absl::Duration server::Options::Deadlines::*length;
};
constexpr Asking kAsking[] = {
    {"deadlines.first_byte=", "first_byte",
     &server::Options::Deadlines::first_byte},
    {"deadlines.idle=", "idle", &server::Options::Deadlines::idle},
};

// A deadline that is long enough for a busy machine, and soon over.
constexpr absl::Duration kShort = absl::Milliseconds(300);

class VisibilityTest : public StrategyTest {
 protected:
  static uint64_t KilledFor(const TestServer::Report& report,
                            KillReason reason) {
    return report.totals.killed_for[static_cast<size_t>(reason)];
  }

  // Returns the error of Create() for `setup`, with the strategy of the row.
  static absl::Status Refusal(TestServer::Setup setup) {
    setup.options.strategy = row().strategy;
    return TestServer::Start(std::move(setup)).status();
  }

  // Expects that a silent client loses its connection by each deadline of
  // kAsking, in a server that inherits the listener `fd`. `connect` connects to
  // that listener.
  template <typename Connect>
  void ExpectKept(int fd, const Connect& connect) {
    for (const Asking& asking : kAsking) {
      TestServer::Setup setup;
      setup.inherited = {fd};
      setup.options.listen = {"inherited"};
      setup.options.deadlines.*asking.length = kShort;
      const auto server = StartServer(std::move(setup));
      TestClient client = TestClient::Adopt(connect());
      EXPECT_THAT(
          server->AwaitEvent("expired", {{"brood.kill.reason", asking.reason}}),
          IsOk());
      EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.signal", SIGKILL}}),
                  IsOk());
      client.Close();
      EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(With, VisibilityTest, EachStrategy(), StrategyName());

// O12. The test after this one: a connection that the handler binds itself.
TEST_P(VisibilityTest, DeadlinesAreKeptOnAListenerThatIsBoundToAnInterface) {
  const net::Socket listener =
      net::Socket::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(setsockopt(listener.fd(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(listener.fd(), any, length), 0);
  ASSERT_EQ(listen(listener.fd(), 8), 0);
  ASSERT_EQ(getsockname(listener.fd(), any, &length), 0);
  ExpectKept(listener.fd(), [&] {
    net::Socket client =
        net::Socket::Adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.fd(), any, length), 0);
    return client;
  });
}

TEST_P(VisibilityTest, DeadlinesAreKeptThoughAHandlerBindsItsConnection) {
  TestServer::Setup setup;
  setup.options.deadlines.idle = kShort;
  setup.handler = [](net::Connection& connection) -> ExitCode {
    setsockopt(connection.fd(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    for (;;) pause();
  };
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(server->AwaitEvent("expired", {{"brood.kill.reason", "idle"}}),
              IsOk());
  EXPECT_THAT(server->AwaitEvent("ended", {{"brood.exit.signal", SIGKILL}}),
              IsOk());
  client.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
}

// O11, for a server that may enter the network of the listener. Also with one
// listener there and one here.
TEST_P(VisibilityTest, DeadlinesAreKeptInAnotherNetworkWhereThatIsAllowed) {
  auto other = OtherNetwork::Create(/*count=*/4);
  if (!other.ok()) GTEST_SKIP() << other.status();
  {
    TestServer::Setup setup;
    setup.inherited = {other->listener.fd()};
    setup.options.listen = {"inherited"};
    setup.options.deadlines.idle = kShort;
    const absl::Status refusal = Refusal(std::move(setup));
    if (!refusal.ok()) GTEST_SKIP() << refusal;
  }
  ExpectKept(other->listener.fd(), [&] { return other->Connect(); });

  TestServer::Setup setup;
  setup.inherited = {other->listener.fd()};
  setup.options.listen = {"127.0.0.2:0", "inherited"};
  setup.options.deadlines.idle = kShort;
  const auto server = StartServer(std::move(setup));
  TestClient here = ConnectTo(*server);
  TestClient there = TestClient::Adopt(other->Connect());
  EXPECT_THAT(server->AwaitEvents(2, "expired"), IsOk());
  EXPECT_THAT(server->AwaitEvents(2, "ended"), IsOk());
  here.Close();
  there.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 2u);
}

// O11, for a server that may not enter that network: each deadline for which
// the kernel must report on connections is refused, in whatever way entering is
// forbidden. Other deadlines are kept.
TEST_P(VisibilityTest, DeadlinesAreRefusedByNameInAnotherNetwork) {
  auto other = OtherNetwork::Create(/*count=*/1);
  if (!other.ok()) GTEST_SKIP() << other.status();
  const auto setup_without = [&](int call) {
    TestServer::Setup setup;
    setup.inherited = {other->listener.fd()};
    setup.options.listen = {"inherited"};
    setup.before = [call] { RefuseCalls({call}, EPERM); };
    return setup;
  };
  for (const int call : {SYS_setns, SYS_ioctl}) {
    for (const Asking& asking : kAsking) {
      TestServer::Setup setup = setup_without(call);
      setup.options.deadlines.*asking.length = kShort;
      EXPECT_THAT(Refusal(std::move(setup)),
                  StatusIs(absl::StatusCode::kFailedPrecondition,
                           AllOf(StartsWith(asking.field),
                                 HasSubstr("another network namespace"),
                                 HasSubstr("deadlines.connection"))));
    }
  }
  TestServer::Setup setup = setup_without(SYS_setns);
  setup.options.deadlines.connection = kShort;
  setup.options.deadlines.peer = absl::Seconds(1);
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(server->AwaitEvent("peer-timeout-left-to-kernel"), IsOk());
  TestClient client = TestClient::Adopt(other->Connect());
  EXPECT_THAT(
      server->AwaitEvent("expired", {{"brood.kill.reason", "connection"}}),
      IsOk());
  EXPECT_THAT(server->AwaitEvent("ended"), IsOk());
  client.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
}

// O13. The handler closes its connection and works on. A query by addresses
// then finds the listener, and the length of its queue in place of unread
// bytes. With each deadline that queries the kernel, with clients in the queue,
// and with bytes that the client does not read.
TEST_P(VisibilityTest, DoesNotKillAHandlerThatClosesAndWorksOn) {
  for (const bool leaves_bytes : {false, true}) {
    TestServer::Setup setup;
    setup.options.max_connections = 1;
    setup.options.pool.workers = 1;
    setup.options.spares.min = 1;
    setup.options.spares.max = 1;
    setup.options.deadlines.first_byte = kShort;
    setup.options.deadlines.idle = kShort;
    setup.options.deadlines.peer = absl::Seconds(1);
    setup.options.linger = absl::ZeroDuration();
    const auto closed = std::make_shared<Shared<std::atomic<int>>>();
    setup.handler = [closed, leaves_bytes](net::Connection& connection) {
      if ((**closed)++ > 0) return ExitCode::kServed;
      char byte;  // so that the client has connected before the reset
      net::ReadFull(connection.socket(), absl::MakeSpan(&byte, 1))
          .IgnoreError();
      const std::string bytes(64 << 10, 'x');
      while (leaves_bytes && send(connection.fd(), bytes.data(), bytes.size(),
                                  MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
      }
      if (!leaves_bytes) {
        const linger at_once = {1, 0};
        setsockopt(connection.fd(), SOL_SOCKET, SO_LINGER, &at_once,
                   sizeof(at_once));
      }
      connection.Close();
      LetPass(absl::Milliseconds(1800));  // the length is the claim
      return ExitCode::kServed;
    };
    const auto server = StartServer(std::move(setup));
    TestClient first = ConnectTo(*server);
    EXPECT_THAT(first.Send("x"), IsOk());
    std::vector<TestClient> queue;
    for (int i = 0; i < 3; ++i) queue.push_back(ConnectTo(*server));
    EXPECT_THAT(server->AwaitEvents(4, "ended"), IsOk());
    first.Close();
    queue.clear();
    const TestServer::Report report = StopAndExpectClean(*server);
    EXPECT_EQ(report.totals.ended_ok, 4u) << leaves_bytes;
    EXPECT_THAT(EventsOf(report.log, "expired"), IsEmpty());
  }
}

// O22. The ways in which a family of addresses is forbidden: by systemd, by a
// security module, by a filter of a container, by a kernel without it.
constexpr int kForbidden[] = {EAFNOSUPPORT, EPERM, EACCES, EPROTONOSUPPORT};

void ForbidNetlink(int error) {
  RefuseArgument({SYS_socket, 0, ~0U, AF_NETLINK, true, error});
}

TEST_P(VisibilityTest, WithoutNetlinkTheOtherDeadlinesAreRefusedByName) {
  for (const int error : kForbidden) {
    for (const Asking& asking : kAsking) {
      TestServer::Setup setup;
      setup.before = [error] { ForbidNetlink(error); };
      setup.options.deadlines.*asking.length = kShort;
      setup.options.deadlines.peer = absl::Seconds(1);
      EXPECT_THAT(Refusal(std::move(setup)),
                  StatusIs(absl::StatusCode::kFailedPrecondition,
                           AllOf(StartsWith(asking.field),
                                 HasSubstr("RestrictAddressFamilies="),
                                 HasSubstr("AF_NETLINK"),
                                 HasSubstr("deadlines.connection"))));
    }
  }
}

TEST_P(VisibilityTest, WithoutNetlinkTheKernelKeepsThePeerTimeout) {
  for (const int error : kForbidden) {
    TestServer::Setup setup;
    setup.before = [error] { ForbidNetlink(error); };
    setup.options.deadlines.peer = absl::Seconds(1);
    setup.handler = [](net::Connection& connection) {
      int milliseconds = 0, silence = 0, on = 0;
      socklen_t length = sizeof(on);
      getsockopt(connection.fd(), SOL_SOCKET, SO_KEEPALIVE, &on, &length);
      getsockopt(connection.fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds,
                 &length);
      getsockopt(connection.fd(), IPPROTO_TCP, TCP_KEEPIDLE, &silence, &length);
      return on == 1 && milliseconds == 1000 && silence == 1 ? ExitCode::kServed
                                                             : ExitCode::kBug;
    };
    const auto server = StartServer(std::move(setup));
    EXPECT_THAT(server->AwaitEvent("peer-timeout-left-to-kernel"), IsOk());
    EXPECT_THAT(ConnectTo(*server).ExpectEof(), IsOk());
    EXPECT_EQ(StopAndExpectClean(*server).totals.ended_ok, 1u);
  }
}

TEST_P(VisibilityTest,
       WithoutNetlinkTheConnectionTimeoutIsKeptWithoutAWarning) {
  TestServer::Setup setup;
  setup.before = [] { ForbidNetlink(EAFNOSUPPORT); };
  setup.options.deadlines.connection = kShort;
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(
      server->AwaitEvent("expired", {{"brood.kill.reason", "connection"}}),
      IsOk());
  EXPECT_THAT(server->AwaitEvent("ended"), IsOk());
  client.Close();
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(KilledFor(report, KillReason::kConnection), 1u);
  EXPECT_THAT(EventsOf(report.log, "peer-timeout-left-to-kernel"), IsEmpty());
}

// A policy that begins later: the kernel does not report on connections for a
// while, which is logged, and the deadline is kept as soon as it reports again.
TEST_P(VisibilityTest, KeepsADeadlineAsSoonAsTheKernelAnswersAgain) {
  if (!FaultInjector::Supported().ok()) GTEST_SKIP();
  FaultInjector faults({SYS_sendto});
  TestServer::Setup setup;
  setup.before = [&] { faults.Install(); };
  setup.options.deadlines.idle = kShort;
  const auto server = StartServer(std::move(setup));
  faults.FailAlways(SYS_sendto, EPERM);
  TestClient client = ConnectTo(*server);
  EXPECT_THAT(server->AwaitEvent("connections-not-visible"), IsOk());
  ASSERT_THAT(faults.AwaitCalls(SYS_sendto, faults.calls(SYS_sendto) + 5),
              IsOk());
  EXPECT_THAT(EventsOf(server->log(), "expired"), IsEmpty());
  faults.Relieve(SYS_sendto);
  EXPECT_THAT(server->AwaitEvent("expired", {{"brood.kill.reason", "idle"}}),
              IsOk());
  EXPECT_THAT(server->AwaitEvent("ended"), IsOk());
  client.Close();
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
}

}  // namespace
}  // namespace brood::testing
